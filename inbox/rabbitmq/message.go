package rabbitmq

import (
	"cmp"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/wire"
)

// decode reads a delivery as the inbox sees it; the handle is left to the
// caller.
func decode(d amqp.Delivery) inbox.Delivery {
	m, err := wire.Decode(rabbit.EnvelopeOf(d))
	failures := max(wire.ReadFailure(d.Headers).Attempts, 0)
	return inbox.Delivery{
		Message: inbox.Message{
			ID:            m.ID,
			Topic:         m.Topic,
			Type:          m.Type,
			Key:           m.Key,
			Seq:           m.Seq,
			Payload:       m.Payload,
			ContentType:   m.ContentType,
			Headers:       m.Headers,
			CorrelationID: m.CorrelationID,
			CausationID:   m.CausationID,
			Producer:      m.Producer,
			OccurredAt:    m.OccurredAt,
			Attempt:       failures + 1,
		},
		Err:         err,
		Failures:    failures,
		Redelivered: d.Redelivered,
	}
}

// newCopy returns the copy of a delivery that goes to a retry or dead-letter
// queue: everything as it came, and the history with one more failure, unless
// that is not to be counted.
//
// Left out is what would turn against the copy: headers of the broker (CC and
// BCC would route it to other queues, x-death would grow with every attempt),
// the expiration (it would cut a wait short, or delete a dead letter) and the
// user id (the broker refuses one that is not ours).
func newCopy(queue string, d amqp.Delivery, s inbox.Settlement, consumer string, at time.Time) rabbit.Publishing {
	headers := make(amqp.Table, len(d.Headers)+10)
	for name, value := range d.Headers {
		if !wire.BrokerHeader(name) {
			headers[name] = value
		}
	}
	headers[wire.HeaderTopic] = s.Delivery.Message.Topic // the way back replaces the routing key
	history := wire.ReadFailure(headers)
	if s.Uncounted {
		history.Exchange = cmp.Or(history.Exchange, d.Exchange)
	} else {
		errText := ""
		if s.Err != nil {
			errText = s.Err.Error()
		}
		history = history.Failed(s.Reason, errText, consumer, d.Exchange, at)
	}
	history.Write(headers)
	return rabbit.Publishing{
		Key: queue, // through the default exchange
		Publishing: amqp.Publishing{
			Headers:         headers,
			ContentType:     d.ContentType,
			ContentEncoding: d.ContentEncoding,
			DeliveryMode:    amqp.Persistent,
			Priority:        d.Priority,
			CorrelationId:   d.CorrelationId,
			ReplyTo:         d.ReplyTo,
			MessageId:       d.MessageId,
			Timestamp:       d.Timestamp,
			Type:            d.Type,
			AppId:           d.AppId,
			Body:            d.Body,
		},
	}
}
