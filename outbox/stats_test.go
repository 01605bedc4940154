package outbox

import (
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

func TestStatsEmpty(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		s, err := ob.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		none := Count{N: 0, Exact: true}
		if s != (Stats{Pending: none, Retrying: none, Delayed: none, Blocked: none, BlockedKeys: none,
			Dead: none, Published: none, Discarded: none}) {
			t.Errorf("%+v, want nothing of anything, exactly", s)
		}
	})
}

func TestStatsCountsByState(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		put(t, ob, Message{Topic: "t", Key: "k"}, Dead, 1)
		put(t, ob, Message{Topic: "t", Key: "k"}, Pending, 0)
		put(t, ob, Message{Topic: "t", Key: "k"}, Pending, 0)
		put(t, ob, Message{Topic: "t", Key: "j"}, Pending, 2)
		put(t, ob, Message{Topic: "t"}, Dead, 5) // without a key it holds back nobody
		put(t, ob, Message{Topic: "t", AvailableAt: time.Now().Add(time.Hour)}, Pending, 0)
		put(t, ob, Message{Topic: "t"}, Discarded, 0)
		for range 3 {
			put(t, ob, Message{Topic: "t"}, Published, 0)
		}
		oldest := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		db.MustExec(`UPDATE outbox_messages SET created_at = $1, available_at = $1 WHERE status = 'published' OR seq <= 3`, d.dialect.Time(oldest))

		s, err := ob.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			got  Count
			want int64
		}{
			"pending":      {s.Pending, 4},
			"retrying":     {s.Retrying, 1},
			"delayed":      {s.Delayed, 1},
			"blocked":      {s.Blocked, 2},
			"blocked keys": {s.BlockedKeys, 2},
			"dead":         {s.Dead, 2},
			"published":    {s.Published, 3},
			"discarded":    {s.Discarded, 1},
		} {
			if c.got != (Count{N: c.want, Exact: true}) {
				t.Errorf("%s: %+v, want %d exactly", name, c.got, c.want)
			}
		}
		if !s.OldestPending.Equal(oldest) || s.OldestPendingAge < 24*time.Hour {
			t.Errorf("oldest pending %v, %v ago; want %v", s.OldestPending, s.OldestPendingAge, oldest)
		}
	})
}

// The age of a message counts from when it was due, not from when it was enqueued.
func TestStatsOldestPendingExcludesDelayed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		put(t, ob, Message{Topic: "t", AvailableAt: time.Now().Add(time.Hour)}, Pending, 0)
		if s, err := ob.Stats(t.Context()); err != nil || !s.OldestPending.IsZero() {
			t.Errorf("not due yet: %v, %v", s.OldestPending, err)
		}
		due := databaseClock(t, ob).Add(-time.Minute)
		db.MustExec(`UPDATE outbox_messages SET created_at = $1, available_at = $2`, d.dialect.Time(due.Add(-24*time.Hour)), d.dialect.Time(due))
		if s, err := ob.Stats(t.Context()); err != nil || !s.OldestPending.Equal(due) {
			t.Errorf("due: %v, %v; want %v", s.OldestPending, err, due)
		}
		// A backoff does not count: the age of a failed message counts from Enqueue.
		db.MustExec(`UPDATE outbox_messages SET attempts = 1, available_at = ` + clock(db, "1 minute"))
		if s, err := ob.Stats(t.Context()); err != nil || !s.OldestPending.Equal(due.Add(-24*time.Hour)) {
			t.Errorf("retrying: %v, %v; want its creation", s.OldestPending, err)
		}
	})
}

// Above the limit the numbers are estimates, and marked as such.
func TestStatsEstimatesAboveLimit(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		const bound, backlog, history = 500, 1500, 11_000
		fill(t, db, history, "published")
		if d.dialect == sqldb.PostgreSQL {
			db.MustExec(`ANALYZE outbox_messages`)
		}
		fill(t, db, backlog, "pending")
		s, err := ob.stats(t.Context(), bound)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			got  Count
			want int64
		}{"pending": {s.Pending, backlog}, "published": {s.Published, history}} {
			if c.got.Exact || c.got.N < c.want*9/10 || c.got.N > c.want*11/10 {
				t.Errorf("%s: %+v, want about %d", name, c.got, c.want)
			}
		}
		if !s.Dead.Exact || !s.Discarded.Exact {
			t.Error("what is few is counted exactly")
		}
	})
}
