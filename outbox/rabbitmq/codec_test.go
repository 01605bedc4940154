package rabbitmq_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

type encoderFunc func(m *wire.Message) error

func (f encoderFunc) Encode(m *wire.Message) error { return f(m) }

// A codec changes everything that is published but the id. A message that it
// cannot encode affects no other.
func TestPublisherCodec(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	cfg := b.config(t)
	cfg.Codec = encoderFunc(func(m *wire.Message) error {
		switch m.Headers["do"] {
		case "refuse":
			return errors.New("no form for it")
		case "panic":
			panic("nil pointer")
		case "rename":
			m.ID = "other"
		}
		m.Payload, m.ContentType, m.Type, m.Headers["added"] = []byte("encoded"), "text/plain", "Encoded", "yes"
		return nil
	})
	p := newPublisher(t, cfg)
	msgs := newMessages(topic, 5)
	for i, do := range []string{"", "refuse", "panic", "rename"} {
		msgs[i].Headers = map[string]string{"do": do}
	}
	headers := maps.Clone(msgs[0].Headers)
	results := publishSoon(t, p, msgs)
	wantPublished(t, []error{results[0], results[4]})
	wantEach(t, []error{results[1], results[3]}, outbox.ErrPermanent)
	wantEach(t, results[2:3], outbox.ErrRejected)
	for i, says := range map[int]string{1: "no form for it", 2: "nil pointer", 3: "changed the message's id"} {
		if !strings.Contains(results[i].Error(), says) {
			t.Errorf("error %v, want %q", results[i], says)
		}
	}
	for _, d := range b.take(t, topic, 2) {
		if string(d.Body) != "encoded" || d.ContentType != "text/plain" || d.Type != "Encoded" || d.Headers["added"] != "yes" || uuid.Validate(d.MessageId) != nil {
			t.Errorf("%+v", d)
		}
	}
	if !maps.Equal(msgs[0].Headers, headers) || string(msgs[0].Payload) == "encoded" {
		t.Errorf("the caller's message has become %+v", msgs[0])
	}
}

func TestNewPublisherChecksCodec(t *testing.T) {
	_, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: "amqp://localhost", Codec: cloudevents.Codec{}})
	if err == nil || !strings.Contains(err.Error(), "Codec: cloudevents: Source") {
		t.Errorf("error %v", err)
	}
}

// A publisher whose messages NestJS services handle.
func ExamplePublisherConfig_codec() {
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL:      "amqp://guest:guest@localhost:5672/",
		Producer: "orders",
		Codec:    nestjs.Codec{},
	})
	if err != nil {
		panic(err)
	}
	defer publisher.Close()
}
