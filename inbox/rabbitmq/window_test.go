package rabbitmq_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// The prefetch counts messages; large ones must not fill the memory all the
// same. The broker keeps what does not fit for as long as it takes, beyond
// several heartbeats.
func TestSourcePrefetchBytes(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		const n, size, limit = 40, 1 << 20, 4 << 20
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.QueueType = queueType
			c.PrefetchBytes = limit
			c.Heartbeat = time.Second
		})
		ctx, cancel := context.WithCancel(t.Context())
		deliveries := r.consumeUntil(ctx, 100)
		body := make([]byte, size)
		for i := range n {
			r.publish(fmt.Sprint(i), func(p *amqp.Publishing) { p.Body = body })
		}
		var held []inbox.Delivery
		for range limit / size {
			held = append(held, r.receive(deliveries))
		}
		quiet := time.NewTimer(4 * time.Second) // four heartbeats
		for waiting := true; waiting; {
			select {
			case d := <-deliveries:
				held = append(held, d)
			case <-quiet.C:
				waiting = false
			}
		}
		// What the library had read before the limit was known comes on top.
		if got := rabbitmq.BytesHeld(r.source); got < limit || got > 2*limit || len(held) > 2*limit/size {
			t.Errorf("%d bytes are held in %d deliveries, the limit is %d", got, len(held), limit)
		}
		for i, d := range held {
			if d.Message.ID != fmt.Sprint(i) || d.Redelivered {
				t.Fatalf("delivery %d is %s, redelivered %t: the connection was lost", i, d.Message.ID, d.Redelivered)
			}
			r.ack(d)
		}
		for i := len(held); i < n-10; i++ {
			r.ack(r.receiveID(deliveries, fmt.Sprint(i)))
		}
		// Being stopped while the broker holds some back.
		last := r.receiveID(deliveries, fmt.Sprint(n-10))
		cancel()
		for d := range deliveries {
			r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
		}
		r.ack(last)
		r.awaitDepth(r.names.Queue, 9)
		testenv.Eventually(t, patience, "nothing to be held", func() bool { return rabbitmq.BytesHeld(r.source) == 0 })
	})
}

// One message that is larger than the limit passes, alone.
func TestSourceMessageAbovePrefetchBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.PrefetchBytes = 1000 })
	deliveries := r.consume(10)
	for i := range 3 {
		r.publish(fmt.Sprint(i), func(p *amqp.Publishing) { p.Body = make([]byte, 300_000) })
	}
	for i := range 3 {
		r.ack(r.receiveID(deliveries, fmt.Sprint(i)))
	}
}

// While nothing is read the connection may end all the same.
func TestSourceLosesConnectionWhilePaused(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) { c.PrefetchBytes = 1000 })
	deliveries := r.consume(10)
	for i := range 3 {
		r.publish(fmt.Sprint(i), func(p *amqp.Publishing) { p.Body = make([]byte, 300_000) })
	}
	first := r.receiveID(deliveries, "0")
	if err := rabbitmq.BreakChannel(first); err != nil {
		t.Fatal(err)
	}
	r.ack(first) // too late, as the answer to it has not been read; the next read finds out
	came := make(map[string]bool)
	for len(came) < 2 || !came["1"] || !came["2"] {
		d := r.receive(deliveries)
		came[d.Message.ID] = true
		_ = r.source.Settle(t.Context(), []inbox.Settlement{{Delivery: d, Action: inbox.ActionAck}}) // stale, if it came before
	}
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
}
