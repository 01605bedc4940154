package acceptance

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// dialTimeout bounds one attempt to reach the broker.
const dialTimeout = 5 * time.Second

// tap sees what goes through the exchange.
type tap struct {
	conn       *amqp.Connection
	channel    *amqp.Channel
	exchange   string
	deliveries <-chan amqp.Delivery
	patience   time.Duration
	seen       map[string]bool // correlation ids of the messages looked at
}

// tap opens one. The exchange is the services' to declare, so it is waited for.
func (v *visitor) tap(ctx context.Context) (*tap, error) {
	var t *tap
	var last error
	err := v.until(ctx, "the exchange "+v.Exchange+" to be there", func() (bool, error) {
		t, last = v.tryTap()
		return last == nil, nil
	})
	return t, errors.Join(err, last)
}

func (v *visitor) tryTap() (_ *tap, err error) {
	t := &tap{exchange: v.Exchange, patience: v.Patience, seen: make(map[string]bool)}
	if t.conn, err = amqp.DialConfig(v.AMQPURL, amqp.Config{Dial: amqp.DefaultDial(dialTimeout)}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.channel, err = t.conn.Channel(); err != nil {
		return nil, err
	}
	if err := t.channel.Confirm(false); err != nil {
		return nil, err
	}
	q, err := t.channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	if err := t.channel.QueueBind(q.Name, topic, v.Exchange, false, nil); err != nil {
		return nil, err
	}
	t.deliveries, err = t.channel.Consume(q.Name, "", true, true, false, false, nil)
	return t, err
}

func (t *tap) close() { _ = t.conn.Close() }

// next waits for the message with that id.
func (t *tap) next(id string) (amqp.Delivery, error) {
	timeout := time.After(t.patience)
	for {
		select {
		case d, open := <-t.deliveries:
			if !open {
				return d, errors.New("the connection of the tap is lost")
			}
			if t.seen[d.CorrelationId] = true; d.MessageId == id {
				return d, nil
			}
		case <-timeout:
			return amqp.Delivery{}, fmt.Errorf("waited %v in vain for message %s to go through the exchange", t.patience, id)
		}
	}
}

// publish sends copies of a delivery on the way it came.
func (t *tap) publish(ctx context.Context, d amqp.Delivery, copies int) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	for range copies {
		confirm, err := t.channel.PublishWithDeferredConfirmWithContext(ctx, t.exchange, d.RoutingKey, true, false, amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, DeliveryMode: d.DeliveryMode, CorrelationId: d.CorrelationId,
			MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body,
		})
		if err != nil {
			return err
		}
		if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
			return errors.Join(errors.New("a copy was not confirmed"), err)
		}
	}
	return nil
}
