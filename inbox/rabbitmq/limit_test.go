package rabbitmq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// limited is a queue from which the broker removes messages that come back more
// often than the limit.
type limited struct {
	name  string
	limit int
	rig   func(t *testing.T, limit int) *rig
}

// limitedQueues are those that a Source declares under a policy, and those made
// by hand, from which the broker deletes.
func limitedQueues(limits ...int) (all []limited) {
	byHand := func(t *testing.T, url string, args amqp.Table) *rig {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) { c.Topology = rabbitmq.None })
		args["x-queue-type"] = "quorum"
		for _, q := range []string{r.names.Queue, r.names.DeadLetters} {
			if _, err := r.plain.QueueDeclare(q, true, false, false, false, args); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	for _, limit := range limits {
		all = append(all,
			limited{"declared, policy", limit, func(t *testing.T, limit int) *rig {
				r := newRig(t)
				testenv.SetPolicy(t, r.url, ".*", map[string]any{"delivery-limit": limit})
				return r
			}},
			limited{"by hand, policy", limit, func(t *testing.T, limit int) *rig {
				url := testenv.RabbitMQ(t)
				testenv.SetPolicy(t, url, ".*", map[string]any{"delivery-limit": limit})
				return byHand(t, url, amqp.Table{})
			}},
			limited{"by hand, devbroker", limit, func(t *testing.T, limit int) *rig {
				return byHand(t, devbroker.NewTest(t).URL(), amqp.Table{"x-delivery-limit": int64(limit)})
			}},
		)
	}
	return all
}

func eachLimited(t *testing.T, queues []limited, test func(t *testing.T, r *rig, limit int)) {
	for _, q := range queues {
		t.Run(fmt.Sprint(q.name, " ", q.limit), func(t *testing.T) {
			t.Parallel()
			test(t, q.rig(t, q.limit), q.limit)
		})
	}
}

// again returns another instance of the rig's source.
func (r *rig) again(change ...func(*rabbitmq.SourceConfig)) *rig {
	r.t.Helper()
	same := func(c *rabbitmq.SourceConfig) { *c = r.cfg }
	other := newRigAt(r.t, r.url, append([]func(*rabbitmq.SourceConfig){same}, change...)...)
	return other
}

// fill publishes n messages to the queue.
func (r *rig) fill(n int) {
	r.t.Helper()
	for i := range n {
		r.publishTo("", r.names.Queue, letterID(i))
	}
}

// drain takes what is in the queue, by an instance of its own, and returns how
// often each message came.
func (r *rig) drain(n int) map[string]int {
	r.t.Helper()
	other := r.again()
	came := make(map[string]int)
	deliveries := other.consume(n)
	for len(came) < n {
		d := other.receive(deliveries)
		came[d.Message.ID]++
		other.ack(d)
	}
	return came
}

// Stops requeue what was prefetched, over and over; none may count.
func TestSourceStopsAndDeliveryLimit(t *testing.T) {
	t.Parallel()
	eachLimited(t, limitedQueues(0, 1, 2, 20), func(t *testing.T, r *rig, limit int) {
		const n = 30
		ctx, cancel := context.WithCancel(t.Context())
		r.consumeUntil(ctx, 1) // declares
		r.end(cancel)
		r.fill(n)
		for range limit%20 + 4 {
			instance := r.again()
			ctx, cancel := context.WithCancel(t.Context())
			deliveries := instance.consumeUntil(ctx, 2*n)
			taken := []inbox.Delivery{instance.receive(deliveries), instance.receive(deliveries)}
			cancel()
			for d := range deliveries {
				taken = append(taken, d)
			}
			for _, d := range taken {
				instance.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
			}
			if err := instance.source.Close(); err != nil { // at once, while it requeues the rest
				t.Fatal(err)
			}
			r.awaitDepth(r.names.Queue, n)
		}
		for id, times := range r.drain(n) {
			if times != 1 {
				t.Errorf("%s came %d times", id, times)
			}
		}
		if d := r.depth(r.names.DeadLetters); d != 0 {
			t.Errorf("%d dead letters", d)
		}
	})
}

// Lost connections count, which no client can prevent. What has come back is
// published as a new message before it is handed out, so that it does not reach a
// limit; from a queue that was declared here, where the broker dead-letters what
// does, only when it comes back a second time.
func TestSourceLostConnectionsAndDeliveryLimit(t *testing.T) {
	t.Parallel()
	eachLimited(t, limitedQueues(1, 2), func(t *testing.T, r *rig, limit int) {
		const n = 20
		proxy := rabbittest.NewProxy(t, r.url)
		instance := r.again(func(c *rabbitmq.SourceConfig) { c.URL = proxy.URL() })
		deadLettered := r.cfg.Topology == rabbitmq.Declare && limit == 1
		deliveries := instance.consume(2 * n)
		r.fill(n)
		for round := range limit + 3 {
			if deadLettered && round > limit {
				break // the broker has had enough
			}
			if round > 0 {
				proxy.Cut()
				proxy.Restore()
			}
			for range n {
				d := instance.receive(deliveries)
				if (round > 0) != d.Redelivered || d.Failures != 0 {
					t.Errorf("round %d: redelivered %t, failures %d", round, d.Redelivered, d.Failures)
				}
			}
		}
		if deadLettered {
			proxy.Cut()
			r.awaitDepth(r.names.DeadLetters, n)
			if err := r.inspect().DeadLetters(t.Context(), func(d rabbitmq.DeadLetter) error {
				if d.Reason != "delivery_limit" || d.ID == "" {
					t.Errorf("dead letter %+v", d)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			proxy.Restore()
			return
		}
		if err := instance.source.Close(); err != nil {
			t.Fatal(err)
		}
		r.drain(n)
	})
}

func TestSourceHealthReportsRepeatedReturns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	for round := range 3 {
		d := r.receiveID(deliveries, "e1")
		connected, err := r.source.Health()
		if told := err != nil && strings.Contains(err.Error(), "x-delivery-count") && strings.Contains(err.Error(), `"e1"`); !connected || told != (round >= 2) {
			t.Errorf("round %d: connected %t, %v", round, connected, err)
		}
		if err := rabbitmq.BreakChannel(d); err != nil {
			t.Fatal(err)
		}
	}
	r.ack(r.receiveID(deliveries, "e1"))
}

// What is requeued keeps its count of attempts, and a count that a producer has
// written is not accepted because of it.
func TestSourceRequeueKeepsHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1", func(p *amqp.Publishing) { p.Headers["pulse-attempts"] = int64(7) })
	d := r.receiveID(deliveries, "e1")
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
	if d = r.receiveID(deliveries, "e1"); d.Failures != 0 || !d.Redelivered {
		t.Errorf("requeued: failures %d, redelivered %t", d.Failures, d.Redelivered)
	}
	r.settle(retry(d, 0, nil))
	if d = r.receiveID(deliveries, "e1"); d.Failures != 1 || d.Redelivered {
		t.Errorf("retried: failures %d, redelivered %t", d.Failures, d.Redelivered)
	}
	for range 2 {
		r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
		if d = r.receiveID(deliveries, "e1"); d.Failures != 1 || !d.Redelivered || d.Message.Topic != r.names.Queue {
			t.Errorf("requeued: failures %d, redelivered %t, topic %q", d.Failures, d.Redelivered, d.Message.Topic)
		}
	}
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler})
	letter := r.get(r.names.DeadLetters)
	if letter.Headers["pulse-attempts"] != int64(2) || letter.Headers["pulse-returned"] != nil {
		t.Errorf("dead letter %v", letter.Headers)
	}
}
