package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// An outage of the broker costs no attempt, shows in the health, and ends by itself.
func TestRelayCountsNoAttemptInAnOutage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		down := errors.New("connection refused")
		var up atomic.Bool
		b := &broker{judge: func(Message) error {
			if up.Load() {
				return nil
			}
			return Unavailable(down)
		}}
		enqueue(t, ob, keyed("k", 30)...)
		relay := newRelay(t, ob, b, patient())
		start(t, relay)
		eventually(t, "it to show", func() bool { return relay.Health().State == RelayDegraded })
		if h := relay.Health(); !errors.Is(h.LastError, down) || h.Since.IsZero() || h.Published+h.Failed+h.Dead != 0 {
			t.Errorf("health %+v", h)
		}
		eventually(t, "another try", func() bool { return relay.outage.tries() >= 3 })
		if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'pending' AND attempts = 0 AND last_error = ''`); n != 30 {
			t.Errorf("%d of 30 rows are as they were", n)
		}
		up.Store(true)
		eventually(t, "everything to be published", func() bool { return relay.Health().Published == 30 })
		if h := relay.Health(); h.State != RelayRunning || h.LastError != nil {
			t.Errorf("health %+v", h)
		}
		wantTopics(t, b.topics(), topicsOf("k", 30))
	})
}

// tries returns how often in a row the broker was found away.
func (o *outage) tries() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failures
}

// poisoned is a broker that hangs up on every call that holds a poisonous
// message: nobody in that call gets a verdict.
type poisoned struct {
	broker
	alone error // what the message gets when it is sent alone
}

func (p *poisoned) Publish(ctx context.Context, msgs []Message) []error {
	if !slices.ContainsFunc(msgs, func(m Message) bool { return m.Topic == "poison.0" && m.Key == "poison" }) {
		return p.broker.Publish(ctx, msgs)
	}
	if len(msgs) == 1 {
		return []error{p.alone}
	}
	return fillErrors(len(msgs), Unavailable(errors.New("connection closed")))
}

// A publisher that does not find the message over which the broker hangs up:
// the relay sends fewer at a time, down to one, so that it harms no other key.
func TestRelayIsolatesAMessageThatBreaksTheConnection(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name  string
			alone error
			want  Status
			error string
		}{
			{"named when alone", Permanent(errors.New("header too long")), Dead, "cannot be published: header too long"},
			{"never named", Unavailable(errors.New("hung up")), Pending, "no verdict on this message alone, 3 times: broker unavailable: hung up"},
		} {
			t.Run(c.name, func(t *testing.T) {
				ob, _ := d.newOutbox(t)
				poison := keyed("poison", 2)
				var others []Message
				for i := range 40 {
					others = append(others, keyed(fmt.Sprintf("key-%d", i), 3)...)
				}
				enqueue(t, ob, slices.Concat(others[:50], poison, others[50:])...)
				p := &poisoned{alone: c.alone}
				cfg := patient()
				cfg.Backoff, cfg.MaxAttempts = DefaultBackoff, 1 // no verdict is no refusal
				relay := newRelay(t, ob, p, cfg)
				start(t, relay)
				eventually(t, "all others to be published", func() bool { return relay.Health().Published == int64(len(others)) })
				eventually(t, "the message to be found among others of its topic", func() bool {
					enqueue(t, ob, NewMessage("poison.0", nil))
					return record(t, ob, poison[0]).Attempts > 0
				})
				if r := record(t, ob, poison[0]); r.Status != c.want || r.LastError != c.error {
					t.Errorf("the message: %+v", r)
				}
				p.mu.Lock()
				inOrder(t, p.taken)
				p.mu.Unlock()
				// Messages that come later are not held up either.
				late := keyed("late", 20)
				enqueue(t, ob, late...)
				awaitStatus(t, ob, Published, late...)
				if r := record(t, ob, poison[1]); r.Status != Pending || r.Attempts != 0 {
					t.Errorf("the next of its key: %+v", r)
				}
			})
		}
	})
}

type publisherFunc func(context.Context, []Message) []error

func (f publisherFunc) Publish(ctx context.Context, msgs []Message) []error { return f(ctx, msgs) }

func TestRelayTakesAPublisherThatMiscountsForUnavailable(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		relay := newRelay(t, ob, publisherFunc(func(context.Context, []Message) []error { return nil }), patient())
		start(t, relay)
		eventually(t, "it to show", func() bool {
			err := relay.Health().LastError
			return err != nil && strings.Contains(err.Error(), "publisher gave 0 verdicts on 1 messages")
		})
		if r := record(t, ob, m); r.Attempts != 0 || r.Status != Pending {
			t.Errorf("row %+v", r)
		}
	})
}

// The database goes away at once, twice: with a verdict on its way, and under
// load. Run goes on, and what has a verdict is not published again.
func TestRelayGoesOnAfterTheDatabaseRestarts(t *testing.T) {
	t.Parallel() // it waits
	server := testenv.PostgresServer(t)
	db := postgres.connect(t, server.URL())
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := NewMessage("first", nil)
	enqueue(t, ob, first)
	s := newStage()
	relay := newRelay(t, ob, s, patient())
	start(t, relay)
	call := s.next(t)
	server.StopImmediate()
	call.accept()
	eventually(t, "it to show", func() bool { return relay.Health().State == RelayDegraded })
	server.Start()
	awaitStatus(t, ob, Published, first)
	eventually(t, "the relay to recover", func() bool { return relay.Health().State == RelayRunning })

	for i := range 5 {
		enqueue(t, ob, keyed(fmt.Sprintf("key-%d", i), 20)...)
	}
	s.next(t).accept()
	server.StopImmediate()
	go server.Start()
	eventually(t, "everything to be published", func() bool {
		select {
		case c := <-s.calls:
			if slices.ContainsFunc(c.msgs, func(m Message) bool { return m.ID == first.ID }) {
				t.Error("published again after the verdict was stored")
			}
			c.accept()
		default:
		}
		// Health does not count what was stored if the answer was lost.
		var n int
		return db.Get(&n, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`) == nil && n == 101
	})
}

func TestRelayStartsWithoutASchema(t *testing.T) {
	t.Parallel() // it waits
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.unmigrated(t)
		relay := newRelay(t, ob, &broker{}, patient())
		start(t, relay)
		eventually(t, "it to show", func() bool { return errors.Is(relay.Health().LastError, ErrSchema) })
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		awaitStatus(t, ob, Published, m)
		eventually(t, "it to recover", func() bool { return relay.Health().State == RelayRunning })
	})
}

// Shutdown waits for the verdicts on what is on its way, and for no more.
func TestRelayShutdownFinishesWhatIsInFlight(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		msgs := keyed("k", 2)
		enqueue(t, ob, msgs...)
		s := newStage()
		relay := newRelay(t, ob, s, patient())
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- relay.Run(ctx) }()
		call := s.next(t)
		cancel(errors.New("SIGTERM"))
		select {
		case err := <-done:
			t.Fatalf("Run did not wait: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		call.accept()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if a, b := record(t, ob, msgs[0]).Status, record(t, ob, msgs[1]).Status; a != Published || b != Pending {
			t.Errorf("statuses %s, %s", a, b)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> ''`); n != 0 {
			t.Errorf("%d leases were not released", n)
		}
	})
}

func TestRelayShutdownReportsWhatIsLeft(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		enqueue(t, ob, NewMessage("m", nil))
		s := newStage()
		cfg := patient()
		cfg.ShutdownTimeout = 30 * time.Millisecond
		relay := newRelay(t, ob, s, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- relay.Run(ctx) }()
		call := s.next(t)
		cancel()
		err := <-done
		if err == nil || !strings.Contains(err.Error(), "1 messages have no stored verdict") || !errors.Is(err, errShutdown) {
			t.Errorf("Run: %v", err)
		}
		if cause := context.Cause(call.ctx); !errors.Is(cause, errShutdown) {
			t.Errorf("the publisher's context ended for %v", cause)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> ''`); n != 0 {
			t.Errorf("%d leases were not released", n)
		}
	})
}

// A publisher that ignores its context: Run leaves it behind, says so, and
// lets the leases of that lane run out rather than give them to another.
func TestRelayShutdownLeavesAStuckPublisher(t *testing.T) {
	t.Parallel() // it waits
	eachDatabase(t, func(t *testing.T, d database) {
		t.Parallel()
		ob, db := d.newOutbox(t)
		enqueue(t, ob, NewMessage("m", nil))
		entered, release := make(chan struct{}), make(chan struct{})
		stuck := publisherFunc(func(_ context.Context, msgs []Message) []error {
			close(entered)
			<-release
			return make([]error, len(msgs))
		})
		cfg := patient()
		cfg.ShutdownTimeout = time.Millisecond
		relay := newRelay(t, ob, stuck, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- relay.Run(ctx) }()
		<-entered
		eventually(t, "all leases", func() bool { return relay.Health().Leases == buckets })
		cancel()
		err := <-done
		if err == nil || !strings.Contains(err.Error(), "Publish has not returned") {
			t.Errorf("Run: %v", err)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> ''`); n == 0 || n == buckets {
			t.Errorf("%d leases are left to run out; want those of one lane of two", n)
		}
		if err := relay.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("Run with a stuck lane: %v", err)
		}
		close(release)
		eventually(t, "the lane to return", func() bool { return !slices.ContainsFunc(relay.lanes, (*lane).isRunning) })
	})
}

// Two hundred transactions that stay open for moments, some rolled back: the
// relay misses none, doubles none, and keeps the order of each key.
func TestRelayMissesNothingOfConcurrentTransactions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.SetMaxOpenConns(30)
		db.MustExec(`CREATE TABLE aggregates (key text PRIMARY KEY)`)
		db.MustExec(`INSERT INTO aggregates VALUES ('key-0'), ('key-1'), ('key-2'), ('key-3'), ('key-4')`)
		b := &broker{}
		cfg := patient()
		cfg.Grace = 5 * time.Millisecond // shorter than the transactions
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		committed := runTransactions(t, db, ob, 8, 25)
		eventually(t, "everything to be published", func() bool { return relay.Health().Published == committed })
		if got := int64(b.count()); got != committed {
			t.Errorf("%d messages were sent for %d rows", got, committed)
		}
		inOrder(t, b.taken)
	})
}

// holdAggregate locks a row until tx ends, and makes tx last for some seconds. On
// SQLite tx has locked the database, and is better short.
func holdAggregate(tx *sqlx.Tx, key string, seconds float64) error {
	if tx.DriverName() == "sqlite3" {
		return nil
	}
	_, err := tx.Exec(`SELECT pg_sleep($2) FROM aggregates WHERE key = $1 FOR UPDATE`, key, seconds)
	return err
}

// runTransactions lets workers enqueue, each holding its aggregate for a
// moment, and returns how many messages were committed.
func runTransactions(t *testing.T, db *sqlx.DB, ob *Outbox, workers, each int) int64 {
	t.Helper()
	var committed atomic.Int64
	done := make(chan error, workers)
	for w := range workers {
		go func() {
			done <- func() error {
				for i := range each {
					tx, err := db.Beginx()
					if err != nil {
						return err
					}
					m := NewMessage("t", nil)
					m.Key = fmt.Sprintf("key-%d", (w+i)%5)
					if err := holdAggregate(tx, m.Key, float64(i%4)*0.006); err != nil {
						return err
					}
					if err := ob.Enqueue(context.Background(), tx, m); err != nil {
						return err
					}
					if i%7 == 3 {
						if err := tx.Rollback(); err != nil {
							return err
						}
						continue
					}
					if err := tx.Commit(); err != nil {
						return err
					}
					committed.Add(1)
				}
				return nil
			}()
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return committed.Load()
}
