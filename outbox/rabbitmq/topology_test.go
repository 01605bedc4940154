package rabbitmq_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// awaitHealth waits for a failure that Health reports with all these words.
func awaitHealth(t *testing.T, p *rabbitmq.Publisher, words ...string) {
	t.Helper()
	testenv.Eventually(t, patience, "health to say "+strings.Join(words, ", "), func() bool {
		connected, err := p.Health()
		if connected || err == nil {
			return false
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				return false
			}
		}
		return true
	})
}

func (b broker) deleteExchange(t *testing.T) {
	t.Helper()
	b.do(t, func(ch *amqp.Channel) error { return ch.ExchangeDelete(b.exchange, false, false) })
}

func TestPublisherRedeclaresExchange(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	p := b.publisher(t)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 5)))

	b.deleteExchange(t)
	text := wantEach(t, p.Publish(t.Context(), newMessages(topic, 20)), outbox.ErrUnavailable)
	if !strings.Contains(text, b.exchange) || !strings.Contains(text, "404") {
		t.Errorf("text %q does not say which exchange is missing", text)
	}
	// Declared again, but nobody is bound to it yet.
	for _, err := range publishSoon(t, p, newMessages(topic, 5)) {
		wantEach(t, []error{err}, outbox.ErrUnroutable)
	}
	b.queue(t, topic, nil)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 5)))
}

func TestPublisherRefusesOtherExchangeType(t *testing.T) {
	b := newBroker(t)
	b.do(t, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(b.exchange, amqp.ExchangeFanout, true, false, false, false, nil)
	})
	p := b.publisher(t)
	awaitHealth(t, p, b.exchange, "received 'topic' but current is 'fanout'", "delete it", "verify")
	text := wantEach(t, p.Publish(t.Context(), newMessages(topic, 1)), outbox.ErrUnavailable)
	if !strings.Contains(text, "fanout") {
		t.Errorf("text %q does not give the reason", text)
	}

	cfg := b.config(t)
	cfg.Topology = rabbitmq.Verify
	verifying := newPublisher(t, cfg)
	b.queueOnExisting(t)
	wantPublished(t, publishSoon(t, verifying, newMessages(topic, 3)))

	b.deleteExchange(t)
	b.queue(t, topic, nil)
	wantPublished(t, publishSoon(t, p, newMessages(topic, 3)))
}

// queueOnExisting binds a queue without declaring the exchange.
func (b broker) queueOnExisting(t *testing.T) {
	t.Helper()
	b.do(t, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(topic, true, false, false, false, nil); err != nil {
			return err
		}
		return ch.QueueBind(topic, topic, b.exchange, false, nil)
	})
}

func TestPublisherVerifyAndNone(t *testing.T) {
	b := newBroker(t)
	cfg := b.config(t)
	cfg.Topology = rabbitmq.Verify
	verifying := newPublisher(t, cfg)
	awaitHealth(t, verifying, b.exchange, "404", "declare")

	cfg.Topology = rabbitmq.None
	p := newPublisher(t, cfg)
	if text := wantEach(t, p.Publish(t.Context(), newMessages(topic, 2)), outbox.ErrUnavailable); !strings.Contains(text, "does not exist") {
		t.Errorf("text %q does not say that the exchange is missing", text)
	}
	b.queue(t, topic, nil)
	wantPublished(t, publishSoon(t, p, newMessages(topic, 2)))
	wantPublished(t, publishSoon(t, verifying, newMessages(topic, 2)))
}
