package inbox_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// TestConsumerStopUnderLoad: consumers start and stop while messages flow;
// nothing is lost, applied twice or left unsettled.
func TestConsumerStopUnderLoad(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		msgs := events(1000, 50)
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		for round := 1; round <= 5; round++ {
			c := consume(t, in, q, record, inbox.ConsumerConfig{Workers: 3, BatchSize: 10})
			q.WaitFor(t, "some progress", func() bool { return len(q.Acked()) > 100*round })
			c.stop()
			if q.Unsettled() != 0 {
				t.Fatalf("%d deliveries are unsettled after Run has returned", q.Unsettled())
			}
		}
		if h := q.Settled(inbox.ActionRequeue); len(h) == 0 {
			t.Error("nothing was requeued: the consumers were not stopped under load")
		}
		consume(t, in, q, record, inbox.ConsumerConfig{Workers: 3})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}

// TestConsumerStopFinishesInFlight: a handler that is running at the stop
// finishes, and its message is acknowledged; what waits behind it is requeued.
func TestConsumerStopFinishesInFlight(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		q.Publish(event(0), event(1))
		entered, leave := make(chan struct{}), make(chan struct{})
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			close(entered)
			<-leave
			if err := ctx.Err(); err != nil {
				t.Errorf("the context has ended: %v", err)
			}
			return record(ctx, tx, msg)
		}
		c := consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 1})
		await(t, "the handler to be entered", entered)
		q.WaitFor(t, "the second message to be handed out", func() bool { return q.Unsettled() == 2 })
		c.end()
		close(leave)
		c.wait()
		wantOnce(t, db, events(1, 1))
		if q.Ready() != 1 || len(q.Acked()) != 1 {
			t.Errorf("ready %d, acknowledged %v; want the second requeued", q.Ready(), q.Acked())
		}
	})
}

// TestConsumerShutdownTimeout: the context of a handler that does not finish is
// ended; its message is requeued, not counted as a failure.
func TestConsumerShutdownTimeout(t *testing.T) {
	for _, redelivered := range []bool{false, true} {
		eachDatabase(t, func(t *testing.T, url string) {
			in, db := newInbox(t, url)
			q := inboxtest.NewQueue()
			q.Deliver(inbox.Delivery{Message: event(0), Redelivered: redelivered})
			entered := make(chan struct{})
			var cause atomic.Value
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				if err := record(ctx, tx, msg); err != nil {
					return err
				}
				close(entered)
				<-ctx.Done()
				cause.Store(context.Cause(ctx))
				return ctx.Err()
			}
			c := consume(t, in, q, handler, inbox.ConsumerConfig{MaxAttempts: 1, ShutdownTimeout: 50 * time.Millisecond})
			await(t, "the handler to be entered", entered)
			c.stop()
			if err, _ := cause.Load().(error); err == nil || !strings.Contains(err.Error(), "ShutdownTimeout") {
				t.Errorf("cause %v, want the one that names ShutdownTimeout", err)
			}
			back := q.Settled()
			if len(back) != 1 || back[0].Action != inbox.ActionRequeue {
				t.Errorf("settled %+v, want one requeued", back)
			}
			inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM effects`)
			inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
			consume(t, in, q, record, inbox.ConsumerConfig{})
			q.WaitUntilEmpty(t)
			wantOnce(t, db, events(1, 1))
		})
	}
}

// dying is a source that cannot go on.
type dying struct{ *inboxtest.Queue }

func (d dying) Consume(ctx context.Context, prefetch int) (<-chan inbox.Delivery, error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return d.Queue.Consume(ctx, prefetch)
}

func TestConsumerRunReturns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, _ := newInbox(t, url)
		cfg := inbox.ConsumerConfig{}
		quiet(t, &cfg)
		c, err := inbox.NewConsumer(in, dying{inboxtest.NewQueue()}, record, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stopped delivering") {
			t.Errorf("Run: %v, want that the source has stopped delivering", err)
		}
		if h := c.Health(); h.State != inbox.Stopped || h.LastError == nil {
			t.Errorf("health %+v", h)
		}
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "make a new one") {
			t.Errorf("second Run: %v", err)
		}
	})
}

func TestNewConsumerNamesEveryProblem(t *testing.T) {
	bad := inbox.ConsumerConfig{Workers: -1, Prefetch: -2, BatchSize: -3, Linger: -4, MaxAttempts: -5, HandlerTimeout: -6,
		CrashLimit: -7, Retention: -8, PurgeInterval: -9, ShutdownTimeout: -10}
	_, err := inbox.NewConsumer(nil, nil, nil, bad)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{"Inbox: ", "Source: ", "Handler: ", "Workers: -1", "Prefetch: -2", "BatchSize: -3", "Linger: -4ns",
		"MaxAttempts: -5", "HandlerTimeout: -6ns", "CrashLimit: -7", "Retention: -8ns", "PurgeInterval: -9ns", "ShutdownTimeout: -10ns"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q is missing from:\n%v", field, err)
		}
	}
	if _, err := inbox.NewConsumerFunc(inboxtest.NewQueue(), nil, inbox.ConsumerConfig{BatchSize: 2}); err == nil ||
		!strings.Contains(err.Error(), "fn: ") || !strings.Contains(err.Error(), "BatchSize: 2") {
		t.Errorf("NewConsumerFunc: %v", err)
	}
	in, _ := newInbox(t, sqliteFile(t))
	other, _ := newInbox(t, sqliteFile(t))
	if _, err := inbox.NewConsumer(in, inboxtest.NewQueue(), record, inbox.ConsumerConfig{Inbox: other}); err == nil || !strings.Contains(err.Error(), "Inbox: ") {
		t.Errorf("NewConsumer with another inbox in its settings: %v", err)
	}
}

func TestExponentialBackoff(t *testing.T) {
	backoff := inbox.ExponentialBackoff(time.Second, time.Minute)
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 7: time.Minute, 1 << 40: time.Minute} {
		if got := backoff(failures); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
}
