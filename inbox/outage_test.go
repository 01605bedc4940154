package inbox_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestConsumerDatabaseOutage: the database is killed under load and comes back.
func TestConsumerDatabaseOutage(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			server := testenv.PostgresServer(t)
			in, db := newInbox(t, server.URL())
			msgs := events(600, 20)
			q := inboxtest.NewQueue()
			q.Publish(msgs[:300]...)
			c := kind.consume(t, in, db, q, record, inbox.ConsumerConfig{Workers: 3, BatchSize: 5, Prefetch: 600, MaxAttempts: 1})
			q.WaitFor(t, "some messages to be applied", func() bool { return len(q.Acked()) > 50 })
			server.StopImmediate()
			q.Publish(msgs[300:]...)
			eventually(t, "every worker to hold", func() bool { return c.Health().Held == 3 })
			if h := c.Health(); h.State != inbox.Degraded || h.LastError == nil {
				t.Errorf("health %+v, want degraded with the error", h)
			}
			server.Start()
			q.WaitUntilEmpty(t)
			wantOnce(t, db, msgs)
			if n := len(q.Settled(inbox.ActionRetry, inbox.ActionDeadLetter, inbox.ActionRequeue)); n != 0 {
				t.Errorf("%d messages paid for the outage", n)
			}
			eventually(t, "the consumer to be well", func() bool { return c.Health().State == inbox.Running })
		})
	}
}

// TestConsumerStartsDuringOutage: a consumer starts while the database is away, and
// one that is stopped meanwhile requeues everything.
func TestConsumerStartsDuringOutage(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			server := testenv.PostgresServer(t)
			in, db := newInbox(t, server.URL())
			server.StopImmediate()
			msgs := events(10, 10)
			q := inboxtest.NewQueue()
			q.Publish(msgs...)
			q.Deliver(inbox.Delivery{Message: event(10), Redelivered: true})
			first := kind.consume(t, in, db, q, record, inbox.ConsumerConfig{})
			eventually(t, "a worker to hold what is delivered", func() bool { return first.Health().Held > 0 && q.Unsettled() == 11 })
			first.stop()
			if q.Ready() != 11 || q.Unsettled() != 0 {
				t.Errorf("ready %d, held %d; want all 11 requeued", q.Ready(), q.Unsettled())
			}
			// The last one may be on its way to the consumer; then the queue takes it back.
			if h := first.Health(); h.State != inbox.Stopped || h.Requeued < 10 || h.Held != 0 {
				t.Errorf("health %+v", h)
			}
			second := kind.consume(t, in, db, q, record, inbox.ConsumerConfig{MaxAttempts: 1})
			eventually(t, "a worker to hold", func() bool { return second.Health().Held > 0 })
			server.Start()
			q.WaitUntilEmpty(t)
			wantOnce(t, db, append(msgs, event(10)))
			inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
		})
	}
}

// TestConsumerLostConnection: the handler's connection is cut while the database is
// available: the message is run again, and no attempt is counted.
func TestConsumerLostConnection(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			in, db := newInbox(t, testenv.Postgres(t))
			q := inboxtest.NewQueue()
			msgs := events(10, 1)
			q.Publish(msgs...)
			var cut atomic.Int32
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				if msg.ID == msgs[3].ID && cut.Add(1) <= 2 {
					_, err := tx.ExecContext(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
					return err
				}
				return record(ctx, tx, msg)
			}
			kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			wantOnce(t, db, msgs)
			if n := len(q.DeadLetters()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

func TestConsumerUnavailable(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		var away atomic.Bool
		away.Store(true)
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			if away.Load() {
				return inbox.Unavailable(errSMTP)
			}
			return record(ctx, tx, msg)
		}
		q := inboxtest.NewQueue()
		q.Publish(events(5, 1)...)
		c := kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1})
		eventually(t, "the worker to hold", func() bool { return c.Health().Held == 1 })
		if h := c.Health(); h.State != inbox.Degraded || !errors.Is(h.LastError, errSMTP) {
			t.Errorf("health %+v, want degraded because of %v", h, errSMTP)
		}
		away.Store(false)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(5, 1))
	})
}

// TestConsumerRepeatsRefusedSettlements: a settlement that the source refuses is
// repeated, and the messages behind it go on.
func TestConsumerRepeatsRefusedSettlements(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		unroutable := errors.New("no queue for the retry")
		q := inboxtest.NewQueue()
		q.RefuseSettlements(unroutable, unroutable, unroutable)
		msgs := events(20, 1)
		q.Publish(msgs...)
		c := kind.consume(t, in, db, q, record, inbox.ConsumerConfig{Workers: 1, BatchSize: 1})
		q.WaitFor(t, "the others to be settled", func() bool { return len(q.Acked()) >= 17 })
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		eventually(t, "the consumer to be well, and all to be counted", func() bool {
			h := c.Health()
			return h.State == inbox.Running && h.Applied == 20
		})
		if h := c.Health(); !errors.Is(h.LastError, unroutable) {
			t.Errorf("health %+v", h)
		}
	})
}

// TestConsumerDisconnectedBeforeAck: the effect is committed and the connection
// is lost before the ack: the redelivered copy is a duplicate.
func TestConsumerDisconnectedBeforeAck(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		msgs := events(50, 5)
		q.Publish(msgs...)
		var lost atomic.Bool
		flaky := spy{q, func(inbox.Settlement) {
			if lost.CompareAndSwap(false, true) {
				q.Disconnect()
			}
		}}
		c := kind.consume(t, in, db, flaky, record, inbox.ConsumerConfig{Workers: 2, BatchSize: 10})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		eventually(t, "stale settlements, and the duplicates that followed, to be counted", func() bool {
			h := c.Health()
			return h.Stale > 0 && h.Duplicates > 0
		})
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}
