package inbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// describedQueue is a source that tells where it reads.
type describedQueue struct{ *inboxtest.Queue }

func (describedQueue) Status() inbox.SourceStatus {
	return inbox.SourceStatus{Queue: "order.created", RetryDelays: []time.Duration{20 * time.Millisecond, time.Minute}, Subscribed: true}
}

// instance returns the only instance there is, or one without a name.
func instance(t *testing.T, in *inbox.Inbox) inbox.InstanceStatus {
	t.Helper()
	all, err := in.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		return inbox.InstanceStatus{}
	}
	return all[0]
}

// A consumer records in the database that it runs and what it reads, and deletes
// that when it ends.
func TestInboxInstances(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		c := consume(t, in, describedQueue{inboxtest.NewQueue()}, record, inbox.ConsumerConfig{})
		eventually(t, "the instance to report", func() bool { return instance(t, in).Live })
		i := instance(t, in)
		if i.Queue != "order.created" || len(i.RetryDelays) != 2 || i.RetryDelays[1] != time.Minute || !i.Subscribed || i.Held != 0 || !i.OldestHeld.IsZero() {
			t.Errorf("reported %+v", i)
		}
		eventually(t, "an idle instance to report again", func() bool { return instance(t, in).SeenAt.After(i.SeenAt) })
		c.stop()
		if i := instance(t, in); i.Name != "" {
			t.Errorf("after its end there is %+v", i)
		}

		mustExec(t, db, `INSERT INTO inbox_instances (consumer, instance, subscribed, held, seen_at) VALUES ('notifications', 'frozen', TRUE, 3, $1)`, ago(db, time.Minute))
		if i := instance(t, in); i.Live || i.Held != 3 {
			t.Errorf("one that has said nothing for a minute: %+v", i)
		}
		other, err := inbox.New(db, "another")
		if err != nil {
			t.Fatal(err)
		}
		if i := instance(t, other); i.Name != "" {
			t.Errorf("another consumer has %+v", i)
		}
	})
}

// A consumer whose handlers claim for themselves reports in their inbox.
func TestNewConsumerFuncInstances(t *testing.T) {
	in, _ := newInbox(t, sqliteFile(t))
	cfg := inbox.ConsumerConfig{Inbox: in}
	quiet(t, &cfg)
	c, err := inbox.NewConsumerFunc(inboxtest.NewQueue(), func(context.Context, inbox.Message) error { return nil }, cfg)
	if err != nil {
		t.Fatal(err)
	}
	running := start(t, c)
	eventually(t, "the instance to report", func() bool { return instance(t, in).Live })
	running.stop()
}

// Held deliveries are reported until they are settled.
func TestInstancesReportHeld(t *testing.T) {
	t.Parallel()
	in, _ := newInbox(t, sqliteFile(t))
	queue := inboxtest.NewQueue()
	release := make(chan struct{})
	c := consume(t, in, blocked{queue, release}, record, inbox.ConsumerConfig{Workers: 1, BatchSize: 1, Prefetch: 10})
	queue.Publish(events(5, 1)...)
	eventually(t, "the five to be told", func() bool { return instance(t, in).Held == 5 })
	if i := instance(t, in); i.OldestHeld.IsZero() || i.OldestHeld.After(i.SeenAt) {
		t.Errorf("the oldest of them was received at %v, seen at %v", i.OldestHeld, i.SeenAt)
	}
	close(release)
	eventually(t, "nothing to be held", func() bool {
		i := instance(t, in)
		return i.Live && i.Held == 0
	})
	if h := c.Health(); h.Applied != 5 {
		t.Errorf("health %+v", h)
	}
}

// blocked is a source that takes settlements only once it is released.
type blocked struct {
	*inboxtest.Queue
	release <-chan struct{}
}

func (b blocked) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	<-b.release
	return b.Queue.Settle(ctx, settlements)
}
