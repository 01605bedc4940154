package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"
)

// drain runs Drain, which has to succeed.
func drain(t testing.TB, relay *Relay) Drained {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := relay.Drain(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantDrained(t testing.TB, got, want Drained) {
	t.Helper()
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func exactly(n int64) Count { return Count{N: n, Exact: true} }

func TestRelayDrain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		b := &broker{}
		cfg := eager()
		cfg.Producer = "orders"
		relay := newRelay(t, ob, b, cfg)
		delayed, head := NewMessage("delayed", nil), keyed("dead", 3)
		delayed.AvailableAt = time.Now().Add(time.Hour)
		b.judge = func(m Message) error {
			if m.Topic == "dead.0" {
				return Permanent(nil)
			}
			return nil
		}
		enqueue(t, ob, append(append(keyed("a", 40), delayed), head...)...)
		running := goleak.IgnoreCurrent()

		wantDrained(t, drain(t, relay), Drained{Published: 40, Dead: 1, Left: exactly(0), Later: exactly(3)})
		wantTopics(t, b.topics(), topicsOf("a", 40))
		if h := relay.Health(); h.State != RelayStopped || h.Leases != 0 {
			t.Errorf("health after Drain %+v", h)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> '' OR expires_at > `+clock(db, "-1 day")); n != 0 {
			t.Errorf("%d leases were not released", n)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE bucket = 0 AND producer = 'orders' AND proven`); n != 1 {
			t.Error("the outbox was not claimed for the service that has published")
		}
		db.SetMaxIdleConns(0) // its goroutines are not ours
		goleak.VerifyNone(t, running, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))

		// Nothing is due: nobody is disturbed.
		tokens := func() int { return number(t, db, `SELECT sum(token % 1000003) FROM outbox_leases`) }
		before := tokens()
		wantDrained(t, drain(t, relay), Drained{Left: exactly(0), Later: exactly(3)})
		if tokens() != before {
			t.Error("leases were taken to publish nothing")
		}

		enqueue(t, ob, keyed("b", 5)...)
		wantDrained(t, drain(t, relay), Drained{Published: 5, Left: exactly(0), Later: exactly(3)})
		stop := start(t, relay)
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		awaitStatus(t, ob, Published, m)
		if _, err := relay.Drain(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("Drain beside Run: %v", err)
		}
		stop()
	})
}

// Run and Drain exclude each other, whichever comes first.
func TestRelayDrainExcludesRun(t *testing.T) {
	ob, _ := file.newOutbox(t)
	s := newStage()
	relay := newRelay(t, ob, s, eager())
	enqueue(t, ob, NewMessage("m", nil))
	done := make(chan error, 1)
	go func() {
		_, err := relay.Drain(t.Context())
		done <- err
	}()
	call := s.next(t)
	if err := relay.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("Run beside Drain: %v", err)
	}
	if _, err := relay.Drain(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("Drain beside Drain: %v", err)
	}
	call.accept()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is enqueued meanwhile is not waited for, however much it is.
func TestRelayDrainEndsBesideProducers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		b := &broker{judge: func(Message) error {
			tx := ob.db.MustBegin()
			defer tx.Rollback()
			return errors.Join(ob.Enqueue(t.Context(), tx, keyed("more", 3)...), tx.Commit())
		}}
		enqueue(t, ob, keyed("k", 20)...)
		if got := drain(t, newRelay(t, ob, b, eager())); got.Published < 20 || got.Left != exactly(0) {
			t.Errorf("%+v", got)
		}
		if n := number(t, ob.db, `SELECT count(*) FROM outbox_messages WHERE topic LIKE 'k.%' AND status = 'pending'`); n != 0 {
			t.Errorf("%d of 20 messages are pending", n)
		}
	})
}

// What the broker refuses has had its attempt, even if it may be tried again at once.
func TestRelayDrainTriesEachOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, backoff := range []time.Duration{0, time.Hour} {
			t.Run(backoff.String(), func(t *testing.T) {
				ob, _ := d.newOutbox(t)
				msgs := keyed("k", 3)
				b := &broker{judge: func(m Message) error {
					if m.Topic == "k.1" {
						return Rejected(nil)
					}
					return nil
				}}
				cfg := eager()
				cfg.Backoff = func(int) time.Duration { return backoff }
				enqueue(t, ob, msgs...)
				got := drain(t, newRelay(t, ob, b, cfg))
				if got.Published != 1 || got.Failed < 1 || got.Left != exactly(0) || got.Later != exactly(2) {
					t.Errorf("%+v", got)
				}
				if backoff > 0 && b.triesOf(msgs[1]) != 1 {
					t.Errorf("tried %d times", b.triesOf(msgs[1]))
				}
			})
		}
	})
}

// A broker that is down is named, with counts, after a third of LeaseTTL or when
// ctx ends.
func TestRelayDrainNamesWhatIsDown(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name string
			ttl  time.Duration
			ends int // ctx, after that many calls in vain; 0: it does not
		}{{"by itself", 3 * time.Second, 0}, {"when ctx ends", time.Hour, 3}} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel() // it waits
				ob, db := d.newOutbox(t)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				calls := 0
				b := &broker{judge: func(m Message) error {
					if m.Topic == "k.7" {
						if calls++; calls == c.ends {
							cancel()
						}
						return Unavailable(errUnreachable)
					}
					return nil
				}}
				enqueue(t, ob, keyed("k", 30)...)
				cfg := eager()
				cfg.LeaseTTL = c.ttl
				relay := newRelay(t, ob, b, cfg)
				got, err := relay.Drain(ctx)
				wantDrained(t, got, Drained{Published: 7, Left: exactly(23), Later: exactly(0)})
				if !errors.Is(err, errUnreachable) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "7 messages published, 0 refused, 0 dead, 23 left") {
					t.Errorf("error %v", err)
				}
				if ended := ctx.Err() != nil; ended != errors.Is(err, context.Canceled) {
					t.Errorf("error %v, and ctx: %v", err, ctx.Err())
				}
				wantNoAttempts(t, db)
				b.judge = nil
				wantDrained(t, drain(t, relay), Drained{Published: 23, Left: exactly(0), Later: exactly(0)})
				wantTopics(t, b.topics(), topicsOf("k", 30))
			})
		}
	})
}

// Topics that get verdicts are drained, and the one that gets none is named.
func TestRelayDrainNamesSuspendedTopics(t *testing.T) {
	t.Parallel() // it waits
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		b := &broker{judge: func(m Message) error {
			if m.Topic == "silent" {
				return Unavailable(errUnreachable)
			}
			return nil
		}}
		behind := NewMessage("behind", nil)
		behind.Key = "k"
		silent := topical("silent", 5)
		silent[0].Key = "k"
		enqueue(t, ob, append(append(silent, behind), keyed("other", 50)...)...)
		cfg := eager()
		cfg.LeaseTTL = 3 * time.Second
		got, err := newRelay(t, ob, pinged{b, func() error { return nil }}, cfg).Drain(t.Context())
		wantDrained(t, got, Drained{Published: 50, Left: exactly(6), Later: exactly(0)})
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "silent") {
			t.Errorf("error %v", err)
		}
	})
}

// Buckets that another relay holds are its own to publish: a Drain waits for
// that, and takes nothing away.
func TestRelayDrainWaitsForOtherRelays(t *testing.T) {
	t.Parallel() // it waits
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		s, b := newStage(), &broker{}
		other := newRelay(t, ob, s, eager())
		start(t, other)
		awaitLeases(t, map[*Relay]int{other: buckets})
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		call := s.next(t)

		relay := newRelay(t, ob, b, eager())
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // the other looks every second
		defer cancel()
		got, err := relay.Drain(ctx)
		wantDrained(t, got, Drained{Left: exactly(1), Later: exactly(0)})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "this relay holds 0 of 64 buckets") {
			t.Errorf("error %v", err)
		}
		if n := other.Health().Leases; n != buckets {
			t.Errorf("the other relay is left with %d buckets", n)
		}
		done := make(chan error, 1)
		go func() {
			_, err := relay.Drain(t.Context())
			done <- err
		}()
		eventually(t, "Drain to begin", func() bool { return relay.Health().State == RelayRunning })
		call.accept()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if record(t, ob, m).Status != Published || b.count() != 0 {
			t.Errorf("%d messages were published twice", b.count())
		}
	})
}

// The buckets of a relay that was killed are free when its leases have run out.
func TestRelayDrainTakesOverFromTheDead(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		enqueue(t, ob, keyed("k", 10)...)
		db.MustExec(`UPDATE outbox_leases SET owner = 'killed', token = 7, ttl = 700, expires_at = ` + clock(db, "0.7 seconds"))
		wantDrained(t, drain(t, newRelay(t, ob, &broker{}, eager())), Drained{Published: 10, Left: exactly(0), Later: exactly(0)})
	})
}

// A Drain that is cancelled leaves nothing half done: what has no verdict stays
// pending, its leases are free.
func TestRelayDrainCancelled(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		s := newStage()
		cfg := eager()
		cfg.ShutdownTimeout = 100 * time.Millisecond
		relay := newRelay(t, ob, s, cfg)
		enqueue(t, ob, keyed("k", 3)...)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the function's time is over")
		done := make(chan error, 1)
		go func() {
			got, err := relay.Drain(ctx)
			if got.Left != exactly(3) {
				err = fmt.Errorf("%+v, %w", got, err)
			}
			done <- err
		}()
		s.next(t) // and no answer
		cancel(why)
		if err := <-done; !errors.Is(err, why) || !errors.Is(err, errShutdown) || !strings.Contains(err.Error(), "0 dead, 3 left") {
			t.Errorf("error %v", err)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> ''`); n != 0 {
			t.Errorf("%d leases were not released", n)
		}
		if _, err := relay.Drain(ctx); !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// What keeps a relay from its work ends a Drain as well.
func TestRelayDrainReportsTrouble(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name  string
			spoil func(db *sqlx.DB)
			want  error
		}{
			{"no schema", func(db *sqlx.DB) { db.MustExec(`DROP TABLE outbox_messages`) }, ErrSchema},
			{"another service's", func(db *sqlx.DB) {
				db.MustExec(`UPDATE outbox_leases SET producer = 'payments', proven = true WHERE bucket = 0`)
			}, ErrProducer},
		} {
			t.Run(c.name, func(t *testing.T) {
				ob, db := d.newOutbox(t)
				enqueue(t, ob, NewMessage("m", nil))
				c.spoil(db)
				cfg := eager()
				cfg.LeaseTTL, cfg.Producer = 300*time.Millisecond, "orders"
				if _, err := newRelay(t, ob, &broker{}, cfg).Drain(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
			})
		}
	})
}
