package chaos

import (
	"context"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// Tap records every message that the exchange routes, in the order in which the
// broker has them: it consumes a queue of its own, bound to all topics.
type Tap struct {
	queue string
	url   func() string

	mu       sync.Mutex
	seen     map[string]bool
	recorded []check.Publication
}

const (
	tapPrefetch = 500
	tapPause    = 100 * time.Millisecond // between two attempts to connect
)

// NewTap returns a tap on a queue of the broker whose URL url returns.
func NewTap(queue string, url func() string) *Tap {
	return &Tap{queue: queue, url: url, seen: make(map[string]bool)}
}

// DeclareTap creates exchange and queue. What the exchange routed before is not
// recorded.
func DeclareTap(ch *amqp.Channel, exchange, queue string) error {
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	return ch.QueueBind(queue, "#", exchange, false, nil)
}

// Run records until ctx ends. The broker may go and come.
func (t *Tap) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = t.consume(ctx) // the next attempt tells more than its error
		select {
		case <-time.After(tapPause):
		case <-ctx.Done():
		}
	}
}

func (t *Tap) consume(ctx context.Context) error {
	conn, err := dial(t.url())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(tapPrefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(t.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for d := range deliveries {
		t.record(d)
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	return nil
}

// record notes a delivery. One that comes again because its acknowledgement was
// lost is no other copy.
func (t *Tap) record(d amqp.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.Redelivered && t.seen[d.MessageId] {
		return
	}
	t.seen[d.MessageId] = true
	cause, _ := d.Headers[wire.HeaderCausationID].(string)
	t.recorded = append(t.recorded, check.Publication{Event: d.MessageId, Cause: cause, Body: process.Digest(d.Body), At: time.Now()})
}

// Publications returns what was recorded.
func (t *Tap) Publications() []check.Publication {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.recorded[:len(t.recorded):len(t.recorded)]
}

// dialLimit bounds a connection to the broker.
const dialLimit = 5 * time.Second

func dial(url string) (*amqp.Connection, error) {
	return amqp.DialConfig(url, amqp.Config{Heartbeat: 5 * time.Second, Locale: "en_US", Dial: amqp.DefaultDial(dialLimit)})
}
