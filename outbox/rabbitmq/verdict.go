package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// classify puts a verdict on a message under a class of package outbox.
func (p *Publisher) classify(routingKey string, verdict error) error {
	returned, isReturned := errors.AsType[*rabbit.ReturnedError](verdict)
	_, uncodable := errors.AsType[*rabbit.UncodableError](verdict)
	switch {
	case verdict == nil:
		return nil
	case isReturned && returned.Code == amqp.NoRoute:
		return outbox.Unroutable(fmt.Errorf("%w; no queue is bound: start the consumer that declares one, by default %q, or %s",
			verdict, routingKey, bindingAdvice(p.cfg.ExchangeType)))
	case isReturned:
		return outbox.Unroutable(verdict)
	case uncodable:
		return outbox.Permanent(verdict)
	case errors.Is(verdict, rabbit.ErrNacked):
		// AMQP tells neither which queue nor why.
		return outbox.Rejected(fmt.Errorf("%w: a queue bound for routing key %q did not take it: it is full (x-overflow reject-publish) or failed; "+
			"other queues bound for it have a copy", verdict, routingKey))
	case errors.Is(verdict, rabbit.ErrNoConfirm):
		return outbox.Unavailable(fmt.Errorf("%w: a queue bound for routing key %q may have lost its majority, or hang", verdict, routingKey))
	case rabbit.ExchangeMissing(verdict):
		return outbox.Unavailable(fmt.Errorf("exchange %q does not exist (topology: %v): %w", p.cfg.Exchange, p.cfg.Topology, verdict))
	}
	return outbox.Unavailable(verdict)
}

// bindingAdvice says how a queue is bound to an exchange of a type.
func bindingAdvice(exchangeType string) string {
	switch exchangeType {
	case amqp.ExchangeHeaders:
		return "bind a queue by headers, such as " + wire.HeaderTopic
	case amqp.ExchangeTopic, amqp.ExchangeDirect:
		return "bind a queue with that key"
	}
	return "bind a queue to that exchange"
}

// isolate sends every message without a verdict again, alone on a connection
// that nobody else uses: then the broker's closing of it can only be meant for
// that message. A broker that goes away meanwhile leaves the rest as it is,
// unavailable.
func (p *Publisher) isolate(ctx context.Context, msgs []rabbit.Publishing, verdicts, results []error) {
	var conn *rabbit.Conn
	var channel *rabbit.Confirmer
	hangUp := func() {
		if conn != nil {
			conn.Close()
		}
		conn, channel = nil, nil
	}
	defer func() { hangUp() }()
	silent := make(map[string]bool) // routing keys without confirms
	for i := range msgs {
		if !errors.Is(verdicts[i], rabbit.ErrUnknown) || errors.Is(verdicts[i], rabbit.ErrNoConfirm) || silent[msgs[i].Key] {
			continue
		}
		if channel != nil && channel.Err() != nil {
			hangUp()
		}
		if conn == nil {
			var err error
			if conn, channel, err = p.dialAlone(ctx); err != nil {
				return
			}
		}
		verdict := channel.Publish(ctx, msgs[i:i+1])[0]
		results[i] = p.classify(msgs[i].Key, verdict)
		if errors.Is(verdict, rabbit.ErrNoConfirm) {
			silent[msgs[i].Key] = true
		}
		if !errors.Is(verdict, rabbit.ErrUnknown) || errors.Is(verdict, rabbit.ErrNoConfirm) {
			continue
		}
		switch rabbit.Blamed(verdict) {
		case rabbit.BlameMessage:
			results[i] = outbox.Permanent(fmt.Errorf("the broker closes the connection over it: %w", verdict))
		case rabbit.BlameAccess:
			results[i] = outbox.Rejected(fmt.Errorf("routing key %q is not allowed: %w", msgs[i].Key, verdict))
		case rabbit.BlameBroker:
			// It might be the broker's own trouble, of which nothing may die at once.
			results[i] = outbox.Rejected(fmt.Errorf("the broker fails over it: %w", verdict))
		default:
			return
		}
	}
}

func (p *Publisher) dialAlone(ctx context.Context) (*rabbit.Conn, *rabbit.Confirmer, error) {
	settings := p.cfg.connection()
	settings.Name = "single " + settings.Name
	conn, err := rabbit.Dial(ctx, settings)
	if err != nil {
		return nil, nil, err
	}
	waiting := p.cfg.confirmer()
	waiting.Window, waiting.KeepLate = 1, false
	channel, err := conn.Confirmer(ctx, waiting)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, channel, nil
}
