package rabbitmq_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// look returns the ids that a look into a queue sees.
func look(t *testing.T, i *rabbitmq.Inspector, queue string, limit int) (seen []rabbitmq.Queued, looked rabbitmq.Looked, err error) {
	t.Helper()
	looked, err = i.Look(t.Context(), queue, limit, func(q rabbitmq.Queued) error {
		seen = append(seen, q)
		return nil
	})
	return seen, looked, err
}

func idsOf(seen []rabbitmq.Queued) (ids []string) {
	for _, q := range seen {
		ids = append(ids, q.ID)
	}
	return ids
}

// A look into the consumed queue leaves the messages in their order; into a
// longer one than the limit there is none, as it would turn that.
func TestInspectorLookKeepsOrder(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
		i := r.inspect()
		if _, looked, err := look(t, i, r.names.Queue, 10); err != nil || !looked.Missing {
			t.Errorf("before the queue exists: %+v, %v", looked, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		deliveries := r.consumeUntil(ctx, 1)
		r.publish("held")
		d := r.receiveID(deliveries, "held")
		r.publish("0")
		r.awaitDepth(r.names.Queue, 1)
		if seen, looked, err := look(t, i, r.names.Queue, 10); !errors.Is(err, rabbitmq.ErrInUse) || len(seen) > 0 || looked.Consumers != 1 {
			t.Errorf("a queue that is consumed: %v, %+v, %v", seen, looked, err)
		}
		r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionAck})
		r.settle(inbox.Settlement{Delivery: r.receiveID(deliveries, "0"), Action: inbox.ActionAck})
		r.end(cancel)

		for _, id := range []string{"1", "2", "3", "4"} {
			r.publish(id)
		}
		r.awaitDepth(r.names.Queue, 4)
		if seen, looked, err := look(t, i, r.names.Queue, 3); err != nil || len(seen) > 0 || looked.There != 4 {
			t.Errorf("more than the limit: %v, %+v, %v", seen, looked, err)
		}
		for range 2 {
			seen, looked, err := look(t, i, r.names.Queue, 4)
			if err != nil || !slices.Equal(idsOf(seen), []string{"1", "2", "3", "4"}) || looked.There != 4 || looked.Seen != 4 || looked.Replaced {
				t.Errorf("%v, %+v, %v", seen, looked, err)
			}
			r.awaitDepth(r.names.Queue, 4)
		}
		r.publish("5")
		r.awaitDepth(r.names.Queue, 5)
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			if d := r.get(r.names.Queue); d.MessageId != id {
				t.Errorf("message %s, want %s", d.MessageId, id)
			}
		}
	})
}

// A message that waits for its retry shows its history, and comes back when it
// is due, looked at or not.
func TestInspectorLookRetry(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.QueueType, c.RetryDelays = queueType, []time.Duration{3 * time.Second, time.Hour}
		})
		ctx, cancel := context.WithCancel(t.Context())
		deliveries := r.consumeUntil(ctx, 5)
		begun := time.Now()
		for _, m := range []struct {
			id    string
			delay time.Duration
		}{{"soon", 3 * time.Second}, {"late", time.Hour}, {"later", time.Hour}} {
			r.publish(m.id)
			r.settle(inbox.Settlement{Delivery: r.receiveID(deliveries, m.id), Action: inbox.ActionRetry, Delay: m.delay,
				Reason: inbox.ReasonHandler, Err: errors.New("mail server is full")})
		}
		i := r.inspect()
		r.awaitDepth(r.names.Retry[1].Queue, 2)
		for range 2 {
			seen, looked, err := look(t, i, r.names.Retry[1].Queue, 10)
			if err != nil || !slices.Equal(idsOf(seen), []string{"late", "later"}) || looked.Replaced {
				t.Fatalf("%+v, %+v, %v", seen, looked, err)
			}
			if q := seen[0]; q.Attempts != 1 || q.Reason != inbox.ReasonHandler || q.LastError != "mail server is full" ||
				q.LastFailedAt.Before(begun.Add(-time.Second)) || q.Consumer != "notifications" || q.Position != 1 || q.Topic != r.names.Queue {
				t.Errorf("%+v", q)
			}
			r.awaitDepth(r.names.Retry[1].Queue, 2)
		}
		// Whether the look still finds it is a question of time; that it comes is not.
		if seen, _, err := look(t, i, r.names.Retry[0].Queue, 10); err != nil && len(seen) > 1 {
			t.Errorf("%+v, %v", seen, err)
		}
		r.settle(inbox.Settlement{Delivery: r.receiveID(deliveries, "soon"), Action: inbox.ActionAck})
		r.end(cancel)
	})
}

// Dead letters are read all or not at all: a part would leave the queue in
// another order.
func TestInspectorLookDeadLetters(t *testing.T) {
	for _, broker := range []string{"RabbitMQ", "devbroker"} {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			r := limitedLetters(t, broker, 3, 5)
			i := r.inspect()
			if seen, looked, err := look(t, i, r.names.DeadLetters, 4); err != nil || len(seen) > 0 || looked.There != 5 {
				t.Errorf("more than the limit: %v, %+v, %v", seen, looked, err)
			}
			for range 5 { // each return would count, before RabbitMQ 4.3
				seen, looked, err := look(t, i, r.names.DeadLetters, 5)
				if err != nil || len(seen) != 5 || looked.Replaced != i.CountsReturns() || looked.Counted {
					t.Fatalf("%v, %+v, %v", seen, looked, err)
				}
				if q := seen[2]; q.ID != letterID(2) || q.Topic != "order.created" || q.CorrelationID != "c1" || q.Attempts != 10 {
					t.Errorf("%+v", q)
				}
				testenv.Eventually(t, patience, "the letters", func() bool { return r.depth(r.names.DeadLetters) == 5 })
			}
			r.takeLetters(5)
		})
	}
}
