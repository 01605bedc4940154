package rabbitmq_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	runChild()
	goleak.VerifyTestMain(m)
}

const patience = 60 * time.Second

// rig is a source under test, and a plain client beside it.
type rig struct {
	t      *testing.T
	url    string // of the plain client
	cfg    rabbitmq.SourceConfig
	names  rabbitmq.Names
	source *rabbitmq.Source
	conn   *amqp.Connection
	plain  *amqp.Channel
}

// newRig makes a source with short retry delays on a virtual host of its own.
func newRig(t *testing.T, change ...func(*rabbitmq.SourceConfig)) *rig {
	t.Helper()
	return newRigAt(t, testenv.RabbitMQ(t), change...)
}

func newRigAt(t *testing.T, url string, change ...func(*rabbitmq.SourceConfig)) *rig {
	t.Helper()
	cfg := rabbitmq.SourceConfig{
		URL:         url,
		Queue:       testenv.UniqueName(t, "order.created"),
		Exchange:    testenv.UniqueName(t, "events"),
		RetryDelays: []time.Duration{20 * time.Millisecond, time.Hour},
		Consumer:    "notifications",
		Logger:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	source, err := rabbitmq.NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := source.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	r := &rig{t: t, url: url, cfg: cfg, names: source.Names(), source: source}
	r.dial()
	return r
}

// dial connects the plain client, its channel in confirm mode.
func (r *rig) dial() {
	r.t.Helper()
	conn, err := amqp.Dial(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() }) // the server may be gone
	r.conn, r.plain = conn, r.channel(conn)
	if err := r.plain.Confirm(false); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) channel(conn *amqp.Connection) *amqp.Channel {
	r.t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		r.t.Fatal(err)
	}
	return ch
}

// consume returns deliveries until the test ends.
func (r *rig) consume(prefetch int) <-chan inbox.Delivery {
	r.t.Helper()
	return r.consumeUntil(r.t.Context(), prefetch)
}

func (r *rig) consumeUntil(ctx context.Context, prefetch int) <-chan inbox.Delivery {
	r.t.Helper()
	deliveries, err := r.source.Consume(ctx, prefetch)
	if err != nil {
		r.t.Fatal(err)
	}
	return deliveries
}

// publish sends an event with the given id under the first topic.
func (r *rig) publish(id string, change ...func(*amqp.Publishing)) {
	r.t.Helper()
	topic := r.names.Queue
	if len(r.cfg.Topics) > 0 {
		topic = r.cfg.Topics[0]
	}
	r.publishTo(r.cfg.Exchange, topic, id, change...)
}

func (r *rig) publishTo(exchange, key, id string, change ...func(*amqp.Publishing)) {
	r.t.Helper()
	p := amqp.Publishing{
		MessageId: id, Type: "OrderCreated", ContentType: "application/json", DeliveryMode: amqp.Persistent,
		Timestamp: time.Unix(1_700_000_000, 0), AppId: "orders", Body: []byte(`{"id":"` + id + `"}`),
		Headers: amqp.Table{"pulse-topic": key, "tenant": "acme"},
	}
	for _, c := range change {
		c(&p)
	}
	confirm, err := r.plain.PublishWithDeferredConfirm(exchange, key, false, false, p)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
		r.t.Fatalf("publish %s: acked %t, %v", id, acked, err)
	}
}

// receive takes one delivery.
func (r *rig) receive(from <-chan inbox.Delivery) inbox.Delivery {
	r.t.Helper()
	select {
	case d, open := <-from:
		if !open {
			r.t.Fatal("the deliveries have ended")
		}
		return d
	case <-time.After(patience):
		_, err := r.source.Health()
		r.t.Fatalf("no delivery within %v; health: %v", patience, err)
	}
	panic("unreachable")
}

// receiveID takes deliveries until the one with this id comes.
func (r *rig) receiveID(from <-chan inbox.Delivery, id string) inbox.Delivery {
	r.t.Helper()
	d := r.receive(from)
	if d.Message.ID != id {
		r.t.Fatalf("got message %q, want %q", d.Message.ID, id)
	}
	return d
}

// end ends the only subscription, in which everything is settled, and waits
// until the broker knows.
func (r *rig) end(cancel func()) {
	r.t.Helper()
	cancel()
	testenv.Eventually(r.t, patience, "the end of the subscription", func() bool {
		connected, _ := r.source.Health()
		return !connected
	})
}

func (r *rig) settle(settlements ...inbox.Settlement) {
	r.t.Helper()
	for i, err := range r.source.Settle(r.t.Context(), settlements) {
		if err != nil {
			r.t.Fatalf("settle %d: %v", i, err)
		}
	}
}

func (r *rig) ack(d inbox.Delivery) {
	r.t.Helper()
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionAck})
}

// get takes one message off a queue with the plain client.
func (r *rig) get(queue string) amqp.Delivery {
	r.t.Helper()
	var d amqp.Delivery
	testenv.Eventually(r.t, patience, "a message in "+queue, func() bool {
		var ok bool
		var err error
		if d, ok, err = r.plain.Get(queue, true); err != nil {
			r.t.Fatal(err)
		}
		return ok
	})
	return d
}

// depth is the number of messages in a queue that are not out for delivery.
func (r *rig) depth(queue string) int {
	r.t.Helper()
	q, err := r.plain.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.Messages
}

func (r *rig) awaitDepth(queue string, want int) {
	r.t.Helper()
	depth := -1
	defer func() {
		if depth != want {
			r.t.Logf("%s has %d messages", queue, depth)
		}
	}()
	testenv.Eventually(r.t, patience, fmt.Sprintf("the depth of %s to be %d", queue, want), func() bool {
		depth = r.depth(queue)
		return depth == want
	})
}
