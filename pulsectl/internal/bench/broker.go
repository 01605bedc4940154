package bench

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// The bare client's settings: the most unconfirmed messages, and, of a consumer,
// the prefetch and how many messages one frame acknowledges.
const (
	window   = 1000
	prefetch = 300
	ackEvery = 100
)

// broker is the bare AMQP client on one channel, with an exchange and a queue of
// the measurement.
type broker struct {
	cfg     Config
	conn    *rabbit.Conn
	channel *amqp.Channel
	name    string // of exchange and queue
}

func (c Config) newBroker(ctx context.Context) (_ *broker, err error) {
	b := &broker{cfg: c, name: unique()}
	if b.conn, err = rabbit.Dial(ctx, rabbit.Config{URL: c.Broker, GetTLS: c.GetTLS, Name: "pulsectl bench", Logger: quiet}); err != nil {
		return nil, fail.CannotReach("broker", err)
	}
	defer func() {
		if err != nil {
			b.conn.Close()
		}
	}()
	err = b.conn.Do(ctx, func() error {
		if b.channel, err = b.conn.Channel(); err != nil {
			return err
		}
		if err := b.channel.Confirm(false); err != nil {
			return err
		}
		if err := b.channel.ExchangeDeclare(b.name, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := b.channel.QueueDeclare(b.name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: c.QueueType.String()}); err != nil {
			return err
		}
		return b.channel.QueueBind(b.name, topic, b.name, false, nil)
	})
	return b, err
}

// remove deletes exchange and queue and closes the connection.
func (b *broker) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	defer b.conn.Close()
	err := b.conn.Do(ctx, func() error {
		ch, err := b.conn.Channel() // the other may have been closed by an error
		if err != nil {
			return err
		}
		_, err = ch.QueueDelete(b.name, false, false, false)
		return errors.Join(err, ch.ExchangeDelete(b.name, false, false))
	})
	if err != nil {
		return fmt.Errorf("the queue and the exchange %s are left behind: %w", b.name, err)
	}
	return nil
}

// encode converts messages to the AMQP library's type, as the publisher sends
// them.
func (b *broker) encode(msgs []outbox.Message) []rabbit.Publishing {
	publishings := make([]rabbit.Publishing, len(msgs))
	for i, m := range msgs {
		publishings[i] = rabbit.NewPublishing(wire.Message{
			ID: m.ID.String(), Topic: m.Topic, Type: m.Topic, Key: m.Key, Seq: int64(i + 1), ContentType: wire.DefaultContentType,
			CorrelationID: m.ID.String(), Producer: "pulsectl", OccurredAt: m.OccurredAt, Payload: m.Payload,
		}, b.name, m.Topic)
	}
	return publishings
}

// publish sends publishings with at most window of them unconfirmed, and returns
// when all are confirmed.
func (b *broker) publish(ctx context.Context, publishings []rabbit.Publishing) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var waiting []*amqp.DeferredConfirmation
	settle := func() error {
		acked, err := waiting[0].WaitContext(ctx)
		if err == nil && !acked {
			err = errors.New("the broker refused a message")
		}
		waiting = waiting[1:]
		return err
	}
	for i := range publishings {
		if len(waiting) == window {
			if err := settle(); err != nil {
				return err
			}
		}
		p := &publishings[i]
		confirm, err := b.channel.PublishWithDeferredConfirm(p.Exchange, p.Key, false, false, p.Publishing)
		if err != nil {
			return err
		}
		waiting = append(waiting, confirm)
	}
	for len(waiting) > 0 {
		if err := settle(); err != nil {
			return err
		}
	}
	return nil
}

// consume takes n messages and acknowledges them.
func (b *broker) consume(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var ch *amqp.Channel
	var deliveries <-chan amqp.Delivery
	err := b.conn.Do(ctx, func() (err error) {
		if ch, err = b.conn.Channel(); err != nil {
			return err
		}
		if err := ch.Qos(prefetch, 0, false); err != nil {
			return err
		}
		deliveries, err = ch.Consume(b.name, "", false, false, false, false, nil)
		return err
	})
	if err != nil {
		return err
	}
	for i := range n {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the broker closed the channel")
			}
			if (i+1)%ackEvery == 0 || i+1 == n {
				if err := d.Ack(true); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return b.conn.Do(ctx, ch.Close)
}

// take empties the queue, which must contain n messages.
func (b *broker) take(ctx context.Context, n int) error {
	return b.conn.Do(ctx, func() error {
		got, err := b.channel.QueuePurge(b.name, false)
		if err == nil && got != n {
			err = fmt.Errorf("the queue holds %d messages, want %d", got, n)
		}
		return err
	})
}

// publisher returns a publisher to the exchange that is connected.
func (b *broker) publisher(ctx context.Context) (*outboxrabbit.Publisher, error) {
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: b.cfg.Broker, GetTLS: b.cfg.GetTLS, Exchange: b.name, Producer: "pulsectl", Logger: quiet,
	})
	if err != nil {
		return nil, err
	}
	err = eventually(ctx, "connecting", nil, func() bool { up, _ := p.Health(); return up })
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// source returns a source on the queue.
func (b *broker) source() (*inboxrabbit.Source, error) {
	return inboxrabbit.NewSource(inboxrabbit.SourceConfig{
		URL: b.cfg.Broker, GetTLS: b.cfg.GetTLS, Queue: b.name, Exchange: b.name, Topology: inboxrabbit.None, Logger: quiet,
	})
}
