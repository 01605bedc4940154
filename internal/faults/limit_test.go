package faults_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F44: a policy makes the broker delete messages that are returned twice.
// Deploys that stop with a backlog, a killed consumer, and reading the dead
// letters delete nothing, and a backlog that was only requeued does not become
// dead letters.
func TestF44DeliveryLimitPolicy(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	testenv.SetPolicy(t, s.amqpURL, ".*", map[string]any{"delivery-limit": 1})
	s.startNotifications().stop() // declares the queues
	const unreadable = 5
	s.publishUnreadable(unreadable)
	s.place(60)
	relay := s.startOrders()
	testenv.Eventually(t, patience, "every row to be published", func() bool {
		return s.count(s.ordersDB, `outbox_messages WHERE status = 'pending'`) == 0
	})
	relay.stop()

	// A deploy applies a few messages, and is stopped while it holds the rest.
	deploy := func() {
		t.Helper()
		var few atomic.Int32
		var applied sync.WaitGroup
		applied.Add(4)
		consumer, stop := s.runConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			if few.Add(1) > 4 {
				<-ctx.Done()
				return ctx.Err()
			}
			defer applied.Done()
			return notify(ctx, tx, msg)
		}, inbox.ConsumerConfig{Workers: 2, BatchSize: 1, Prefetch: 100, ShutdownTimeout: 1})
		applied.Wait()
		testenv.Eventually(t, patience, "the applied ones to be acknowledged", func() bool { return consumer.Health().Applied == 4 })
		stop()
		if h := consumer.Health(); h.Requeued == 0 {
			t.Errorf("nothing was requeued: %+v", h)
		}
	}
	deploy()
	deploy()
	killed := s.startChild(assignment{Role: roleConsumer, Point: inHandler})
	killed.await("consuming")
	killed.await(string(inHandler))
	killed.kill()
	deploy()
	for range 4 {
		s.inspect(func(i *rabbitmq.Inspector) error {
			_, err := i.DeadLetterIDs(t.Context(), 0)
			return err
		})
	}
	deploy()

	s.startNotifications()
	s.awaitSettled()
	if d := s.depths(); d.DeadLettered != unreadable {
		t.Errorf("%d dead letters, want the %d unreadable ones", d.DeadLettered, unreadable)
	}
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// publishUnreadable publishes messages without an id to the queue.
func (s *system) publishUnreadable(n int) {
	s.t.Helper()
	ch := s.confirming()
	for range n {
		confirm, err := ch.PublishWithDeferredConfirm("", s.queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("?")})
		if err != nil {
			s.t.Fatal(err)
		}
		if !confirm.Wait() {
			s.t.Fatal("a message was refused")
		}
	}
}

// F45: the dead-letter queue is full. Messages that are to go there are held
// and retried, while others are still processed, and no message is counted as
// dead-lettered that is not. Once there is room all of them are moved.
func TestF45DeadLetterQueueFull(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications().stop() // declares the queues
	makeRoom := s.fillUp(s.queue + ".dlq")

	ways := map[string]string{} // customer by event id
	var refused []string
	for _, customer := range []string{"fails-once", "refused"} {
		for _, p := range s.placeFor(3, customer) {
			ways[p.EventID] = customer
			if customer == "refused" {
				refused = append(refused, p.EventID)
			}
		}
	}
	s.place(200)
	s.startOrders()
	seen := calls{attempts: map[string][]int{}}
	consumer := s.startConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		seen.handled(msg)
		switch {
		case ways[msg.ID] == "refused":
			return inbox.DeadLetter(errors.New("no such customer"))
		case ways[msg.ID] == "fails-once" && msg.Attempt == 1:
			return errors.New("mail server is full")
		}
		return notify(ctx, tx, msg)
	}, inbox.ConsumerConfig{Prefetch: 5, BatchSize: 2, Backoff: seen.backoff})
	s.awaitCount(203, s.notificationsDB, `notifications`)
	testenv.Eventually(t, patience, "the refused ones to be held", func() bool { return consumer.Health().Unsettled == len(refused) })
	if h := consumer.Health(); h.State != inbox.Degraded || h.Retried != 3 || h.DeadLettered != 0 || h.LastError == nil || !strings.Contains(h.LastError.Error(), "nacked") {
		t.Errorf("while the queue is full: %+v", h)
	}
	makeRoom()
	testenv.Eventually(t, patience, "all to be moved", func() bool {
		h := consumer.Health()
		return h.Unsettled == 0 && h.DeadLettered == 3 && h.State == inbox.Running
	})
	s.requireClean(exceptions{aside: refused})
}

// fillUp makes a queue refuse messages, like one at its maximum length; the
// returned function ends that.
func (s *system) fillUp(queue string) (makeRoom func()) {
	s.t.Helper()
	remove := testenv.SetPolicy(s.t, s.amqpURL, "^"+regexp.QuoteMeta(queue)+"$", map[string]any{"max-length": 0, "overflow": "reject-publish"})
	ch := s.confirming()
	testenv.Eventually(s.t, patience, queue+" to be full", func() bool {
		confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
		if err != nil {
			s.t.Fatal(err)
		}
		return !confirm.Wait()
	})
	return remove
}

// confirming returns a channel of a plain client in confirm mode.
func (s *system) confirming() *amqp.Channel {
	s.t.Helper()
	conn, err := amqp.Dial(s.amqpURL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() }) // the server may be down
	ch, err := conn.Channel()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		s.t.Fatal(err)
	}
	return ch
}
