package rabbit

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/wire"
)

// NewPublishing puts an envelope in the terms of the AMQP library. Headers and
// body are not copied.
func NewPublishing(e wire.Envelope) Publishing {
	return Publishing{
		Exchange: e.Exchange,
		Key:      e.RoutingKey,
		Publishing: amqp.Publishing{
			Headers:         amqp.Table(e.Headers),
			ContentType:     e.ContentType,
			ContentEncoding: e.ContentEncoding,
			DeliveryMode:    e.DeliveryMode,
			CorrelationId:   e.CorrelationID,
			MessageId:       e.MessageID,
			Timestamp:       e.Timestamp,
			Type:            e.Type,
			AppId:           e.AppID,
			Body:            e.Body,
		},
	}
}

// EnvelopeOf puts a delivery in the terms of the wire contract. Headers and
// body are not copied.
func EnvelopeOf(d amqp.Delivery) wire.Envelope {
	return wire.Envelope{
		Exchange:        d.Exchange,
		RoutingKey:      d.RoutingKey,
		MessageID:       d.MessageId,
		Type:            d.Type,
		CorrelationID:   d.CorrelationId,
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		AppID:           d.AppId,
		Timestamp:       d.Timestamp,
		DeliveryMode:    d.DeliveryMode,
		Headers:         map[string]any(d.Headers),
		Body:            d.Body,
	}
}
