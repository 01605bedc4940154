package rabbit_test

import (
	"cmp"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// envelopeOf is what a consumer sees of p.
func envelopeOf(p rabbit.Publishing) rabbittest.Envelope {
	return rabbittest.EnvelopeOf(amqp.Delivery{
		Exchange: p.Exchange, RoutingKey: p.Key, MessageId: p.MessageId, Type: p.Type, CorrelationId: p.CorrelationId,
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, AppId: p.AppId, Timestamp: p.Timestamp,
		DeliveryMode: p.DeliveryMode, Headers: p.Headers, Body: p.Body,
	})
}

func requireEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// read reads an envelope and checks the message's id, as sources do.
func read(e rabbittest.Envelope) (wire.Message, error) {
	d := e.Delivery()
	m, err := rabbit.ReadMessage(&d)
	return m, cmp.Or(wire.CheckID(m.ID), err)
}

func TestMessageVectors(t *testing.T) {
	rabbittest.EachVector(t, "../..", "message", func(t *testing.T, v rabbittest.Vector) {
		exchange := cmp.Or(v.Exchange, wire.Exchange)
		requireEqual(t, "envelope", envelopeOf(rabbit.NewPublishing(v.Message, exchange, v.Message.Topic)), v.Envelope)
		got, err := read(v.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, "message", got, v.Message)
	})
}

func TestLenientVectors(t *testing.T) {
	rabbittest.EachVector(t, "../..", "lenient", func(t *testing.T, v rabbittest.Vector) {
		got, err := read(v.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, "message", got, v.Message)
	})
}

func TestUndecodableVectors(t *testing.T) {
	rabbittest.EachVector(t, "../..", "undecodable", func(t *testing.T, v rabbittest.Vector) {
		got, err := read(v.Envelope)
		if !errors.Is(err, wire.ErrUndecodable) || !strings.Contains(err.Error(), v.Error) {
			t.Errorf("%v, want ErrUndecodable with %q", err, v.Error)
		}
		requireEqual(t, "message", got, v.Message)
	})
}

// An hour of another zone is the same moment; property and header hold it in UTC.
func TestNewPublishingIsIndependentOfZones(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 5, time.FixedZone("CET", 3600))
	p := rabbit.NewPublishing(wire.Message{ID: "1", OccurredAt: at}, wire.Exchange, "t")
	if p.Headers[wire.HeaderOccurredAt] != "2026-03-01T12:00:00.000000005Z" || p.Timestamp.Nanosecond() != 0 || !p.Timestamp.Equal(at.Truncate(time.Second)) {
		t.Errorf("header %v, timestamp %v", p.Headers[wire.HeaderOccurredAt], p.Timestamp)
	}
}
