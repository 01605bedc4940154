package outbox

import (
	"errors"
	"testing"
	"time"
)

// The gauge tells the age of the oldest message, whatever there is to sweep, and
// in whosever bucket it is.
func TestRelayMeasuresTheOldestMessage(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		cfg := eager()
		cfg.Backoff = func(int) time.Duration { return time.Hour }
		relay := newRelay(t, ob, &broker{judge: func(Message) error { return Unroutable(nil) }}, cfg)
		start(t, relay)
		backlog(t, db, 2500, 0) // a minute old
		eventually(t, "all to be refused", func() bool { return relay.Health().Failed >= 2500 })
		for range 3 { // it moves on
			before := relay.Health()
			eventually(t, "the gauge to rise", func() bool {
				h := relay.Health()
				return h.OldestPending >= before.OldestPending+20*time.Millisecond && h.OldestPending >= time.Minute && h.MeasuredAt.After(before.MeasuredAt)
			})
		}
	})
}

func TestRelayMeasuresAllBuckets(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.MustExec(`INSERT INTO outbox_relays (owner, host, ttl, expires_at) VALUES ('other', 'h', 3600000, ` + clock(db, "1 hour") + `)`)
		db.MustExec(`UPDATE outbox_leases SET owner = 'other', ttl = 3600000, expires_at = ` + clock(db, "1 hour"))
		backlog(t, db, 100, 0)
		relay := newRelay(t, ob, &broker{}, eager())
		start(t, relay)
		eventually(t, "the gauge to tell of the other's buckets", func() bool { return relay.Health().OldestPending >= time.Minute })
		if h := relay.Health(); h.Leases != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// Measurements take 5% of the time. What one has waited in vain for a database that
// hangs is no measure of that.
func TestGaugePauses(t *testing.T) {
	p := newGaugePauses(5 * time.Second)
	failed := errors.New("failed")
	for _, c := range []struct {
		err         error
		took        time.Duration
		least, most time.Duration
	}{
		{nil, 10 * time.Millisecond, 5 * time.Second, 5 * time.Second},
		{nil, 10 * time.Second, 5 * time.Second, 5 * time.Second},  // as an exception
		{nil, 2 * time.Second, 38 * time.Second, 38 * time.Second}, // or not
		{failed, time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond},
		{failed, statementTimeout, statementTimeout, statementTimeout},
		{failed, statementTimeout, statementTimeout, statementTimeout},
		{nil, 10 * time.Millisecond, 5 * time.Second, 5 * time.Second},
	} {
		if d := p.after(c.err, c.took); d < c.least || d > c.most {
			t.Errorf("%v after %v that took %v, want %v to %v", d, c.err, c.took, c.least, c.most)
		}
	}
}
