package rabbitmq_test

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Declaring a queue that exists is an error unless every argument is the same.
func TestDeclaresTheQueuesAsDocumented(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(queueType.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *rabbitmq.SourceConfig) {
				c.QueueType = queueType
				c.SingleActiveConsumer = true
				c.RetryDelays = []time.Duration{5 * time.Second}
			})
			r.consume(1)
			major, _, _ := strings.Cut(r.conn.Properties["version"].(string), ".")
			with := func(args amqp.Table) amqp.Table {
				args["x-queue-type"] = queueType.String()
				if queueType == rabbitmq.Quorum && major != "3" {
					args["x-delivery-limit"] = int64(-1)
				}
				return args
			}
			rung := amqp.Table{"x-message-ttl": int64(5000), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": r.names.Queue}
			if queueType == rabbitmq.Quorum {
				rung["x-dead-letter-strategy"] = "at-least-once"
				rung["x-overflow"] = "reject-publish"
			}
			for queue, args := range map[string]amqp.Table{
				r.cfg.Queue:               with(amqp.Table{"x-single-active-consumer": true}),
				r.cfg.Queue + ".retry.5s": with(rung),
				r.cfg.Queue + ".dlq":      with(amqp.Table{}),
			} {
				if _, err := r.plain.QueueDeclare(queue, true, false, false, false, args); err != nil {
					t.Fatalf("%s: %v", queue, err)
				}
			}
			if err := r.plain.ExchangeDeclare(r.cfg.Exchange, "topic", true, false, false, false, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusesAQueueWithOtherSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.plain.QueueDeclare(r.names.Queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.source.Consume(t.Context(), 10)
	if err == nil {
		t.Fatal("consumes a classic queue as quorum")
	}
	for _, want := range []string{"x-queue-type", "quorum", "classic", r.names.Queue, "delete it", "verify"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q: %v", want, err)
		}
	}
}

func TestVerifyWaitsForWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.Topology = rabbitmq.Verify })
	deliveries := make(chan (<-chan inbox.Delivery), 1)
	go func() {
		from, err := r.source.Consume(t.Context(), 10)
		if err != nil {
			t.Error(err)
		}
		deliveries <- from
	}()
	testenv.Eventually(t, patience, "health to name what is missing", func() bool {
		connected, err := r.source.Health()
		return !connected && err != nil && strings.Contains(err.Error(), r.cfg.Exchange)
	})
	other := newRigAt(t, r.cfg.URL, func(c *rabbitmq.SourceConfig) {
		c.Queue, c.Exchange = r.cfg.Queue, r.cfg.Exchange
	})
	ctx, cancel := context.WithCancel(t.Context())
	other.consumeUntil(ctx, 1)
	other.end(cancel)
	from := <-deliveries
	r.publish("e1")
	r.ack(r.receiveID(from, "e1"))
}

func TestSingleActiveConsumer(t *testing.T) {
	t.Parallel()
	single := func(c *rabbitmq.SourceConfig) { c.SingleActiveConsumer = true }
	r := newRig(t, single)
	active := r.consume(1)
	other := newRigAt(t, r.cfg.URL, single, func(c *rabbitmq.SourceConfig) {
		c.Queue, c.Exchange = r.cfg.Queue, r.cfg.Exchange
	})
	standby := other.consume(10)
	r.publish("e1")
	r.publish("e2") // more than the active one may hold
	held := r.receiveID(active, "e1")
	r.awaitDepth(r.names.Queue, 1)
	r.ack(held)
	r.ack(r.receiveID(active, "e2"))
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	r.publish("e3")
	other.ack(other.receiveID(standby, "e3"))
}
