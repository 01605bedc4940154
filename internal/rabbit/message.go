package rabbit

import (
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// NewPublishing puts a message in the terms of AMQP, persistent. The topic has a
// header only where key is another. The payload is not copied.
func NewPublishing(m wire.Message, exchange, key string) Publishing {
	headers := wire.Headers(m)
	if key == m.Topic {
		delete(headers, wire.HeaderTopic)
	}
	return Publishing{
		Exchange: exchange,
		Key:      key,
		Publishing: amqp.Publishing{
			Headers:         headers,
			ContentType:     m.ContentType,
			ContentEncoding: m.ContentEncoding,
			DeliveryMode:    amqp.Persistent,
			CorrelationId:   m.CorrelationID,
			MessageId:       m.ID,
			Timestamp:       m.OccurredAt.UTC().Truncate(time.Second), // all that AMQP carries
			Type:            m.Type,
			AppId:           m.Producer,
			Body:            m.Payload,
		},
	}
}

// ReadMessage reads a delivery as wire.ReadHeaders does, its id unchecked. The
// body is not copied.
func ReadMessage(d *amqp.Delivery) (wire.Message, error) {
	m := wire.Message{
		ID:              d.MessageId,
		Topic:           d.RoutingKey,
		Type:            d.Type,
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		CorrelationID:   d.CorrelationId,
		Producer:        d.AppId,
		OccurredAt:      d.Timestamp.UTC(),
		Payload:         d.Body,
	}
	err := wire.ReadHeaders(&m, d.Headers)
	return m, err
}
