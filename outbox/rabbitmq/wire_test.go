package rabbitmq_test

import (
	"cmp"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// What the broker delivers is what testdata/wire says, property by property.
func TestWireVectors(t *testing.T) {
	rabbittest.EachVector(t, "../..", "message", func(t *testing.T, v rabbittest.Vector) {
		b, m := newBroker(t), v.Message
		b.exchange = cmp.Or(v.Exchange, wire.Exchange)
		cfg := b.config(t)
		cfg.Producer = m.Producer
		b.queue(t, m.Topic, nil)
		wantPublished(t, publishSoon(t, newPublisher(t, cfg), []outbox.Message{{
			ID: uuid.MustParse(m.ID), Topic: m.Topic, Type: m.Type, Key: m.Key, Payload: m.Payload, ContentType: m.ContentType,
			Headers: m.Headers, CorrelationID: m.CorrelationID, CausationID: m.CausationID, OccurredAt: m.OccurredAt, Seq: m.Seq, Version: m.Version,
		}}))
		if got := rabbittest.EnvelopeOf(b.take(t, m.Topic, 1)[0]); !reflect.DeepEqual(got, v.Envelope) {
			t.Errorf("envelope\n%+v, want\n%+v", got, v.Envelope)
		}
	})
}
