package rabbitmq_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// broker is the other side of a publisher: it declares queues and looks into
// them over short-lived connections of its own.
type broker struct {
	url          string
	publisherURL string // may lead there through a proxy
	exchange     string
}

func newBroker(t *testing.T) broker {
	t.Helper()
	url := testenv.RabbitMQ(t)
	return broker{url: url, publisherURL: url, exchange: testenv.UniqueName(t, "pulse.test")}
}

// newProxiedBroker is a broker whose publishers come through a proxy.
func newProxiedBroker(t *testing.T) (broker, *rabbittest.Proxy) {
	t.Helper()
	b := newBroker(t)
	proxy := rabbittest.NewProxy(t, b.url)
	b.publisherURL = proxy.URL()
	return b, proxy
}

func (b broker) config(t *testing.T) rabbitmq.PublisherConfig {
	return rabbitmq.PublisherConfig{URL: b.publisherURL, Exchange: b.exchange, Producer: "orders", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func (b broker) publisher(t *testing.T) *rabbitmq.Publisher {
	t.Helper()
	return newPublisher(t, b.config(t))
}

func newPublisher(t *testing.T, cfg rabbitmq.PublisherConfig) *rabbitmq.Publisher {
	t.Helper()
	p, err := rabbitmq.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// do runs f on a channel.
func (b broker) do(t testing.TB, f func(ch *amqp.Channel) error) {
	t.Helper()
	conn, err := amqp.Dial(b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := f(ch); err != nil {
		t.Fatal(err)
	}
}

// queue binds a queue, named as the topic, with these arguments.
func (b broker) queue(t testing.TB, topic string, args amqp.Table) {
	t.Helper()
	b.do(t, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(b.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(topic, true, false, false, false, args); err != nil {
			return err
		}
		return ch.QueueBind(topic, topic, b.exchange, false, nil)
	})
}

// take gets n deliveries off a queue, waiting for them.
func (b broker) take(t testing.TB, queue string, n int) []amqp.Delivery {
	t.Helper()
	var deliveries []amqp.Delivery
	b.do(t, func(ch *amqp.Channel) error {
		testenv.Eventually(t, patience, "messages in queue "+queue, func() bool {
			for len(deliveries) < n {
				d, ok, err := ch.Get(queue, true)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					return false
				}
				deliveries = append(deliveries, d)
			}
			return true
		})
		return nil
	})
	return deliveries
}

// empty checks that nothing is left in a queue.
func (b broker) empty(t testing.TB, queue string) {
	t.Helper()
	b.do(t, func(ch *amqp.Channel) error {
		if d, ok, err := ch.Get(queue, true); err != nil || ok {
			t.Errorf("queue %s holds a surplus message %s (error: %v)", queue, d.MessageId, err)
		}
		return nil
	})
}

// messageOf returns the message that was published as a delivery.
func messageOf(t testing.TB, d amqp.Delivery) outbox.Message {
	t.Helper()
	m, err := rabbit.ReadMessage(&d)
	if err != nil {
		t.Fatal(err)
	}
	return outbox.Message{
		ID: uuid.MustParse(m.ID), Topic: m.Topic, Type: m.Type, Key: m.Key, Payload: m.Payload,
		ContentType: m.ContentType, Headers: m.Headers, CorrelationID: m.CorrelationID, CausationID: m.CausationID,
		OccurredAt: m.OccurredAt, Seq: m.Seq,
	}
}

func (b broker) harness() outboxtest.PublisherHarness {
	return outboxtest.PublisherHarness{
		New: func(t *testing.T) outbox.Publisher { return b.publisher(t) },
		Bind: func(t *testing.T, topic string) (unbind func()) {
			b.queue(t, topic, nil)
			return func() {
				b.do(t, func(ch *amqp.Channel) error { return ch.QueueUnbind(topic, topic, b.exchange, nil) })
			}
		},
		Receive: func(t *testing.T, topic string, n int) []outbox.Message {
			var msgs []outbox.Message
			for _, d := range b.take(t, topic, n) {
				msgs = append(msgs, messageOf(t, d))
			}
			return msgs
		},
		Features: outboxtest.Features{
			BindRefusing: func(t *testing.T, topic string) (accept func()) {
				b.queue(t, topic, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
				b.do(t, func(ch *amqp.Channel) error {
					return ch.PublishWithContext(t.Context(), "", topic, false, false, amqp.Publishing{Body: []byte("full")})
				})
				return func() { b.take(t, topic, 1) }
			},
			Poison: map[string]func(*outbox.Message){
				"header the broker refuses":    func(m *outbox.Message) { m.Headers = map[string]string{"CC": "not a list"} },
				"headers too long for a frame": func(m *outbox.Message) { m.Headers = map[string]string{"long": strings.Repeat("x", 200<<10)} },
				"topic too long":               func(m *outbox.Message) { m.Topic = strings.Repeat("t", 256) },
				"header name too long":         func(m *outbox.Message) { m.Headers = map[string]string{strings.Repeat("n", 256): ""} },
			},
		},
	}
}

func TestPublisherSuite(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	h := b.harness()
	h.Features.Stop = func(t *testing.T) (start func()) {
		proxy.Cut()
		return proxy.Restore
	}
	h.Features.Block = func(t *testing.T) (unblock func()) {
		proxy.Block("low on memory")
		return proxy.Restore
	}
	h.Features.Silence = func(t *testing.T, topic string) (speak func()) {
		proxy.Withhold(topic)
		return func() { proxy.Release(topic) }
	}
	outboxtest.RunPublisherSuite(t, h)
}

// A quorum queue that was full takes messages once there is room.
func TestPublisherQuorumQueueHasRoomAgain(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, amqp.Table{"x-queue-type": "quorum", "x-max-length": 3, "x-overflow": "reject-publish"})
	p := b.publisher(t)
	refused := func() bool { return errors.Is(p.Publish(t.Context(), newMessages(topic, 1))[0], outbox.ErrRejected) }
	testenv.Eventually(t, patience, "the queue to refuse", refused)
	b.do(t, func(ch *amqp.Channel) error { _, err := ch.QueuePurge(topic, false); return err })
	testenv.Eventually(t, patience, "the queue to take messages", func() bool { return !refused() })
}

func newMessages(topic string, n int) []outbox.Message {
	msgs := make([]outbox.Message, n)
	for i := range msgs {
		msgs[i] = outbox.NewMessage(topic, []byte(`{"amount":77.5}`))
	}
	return msgs
}

// publishSoon publishes until every message has a final result.
func publishSoon(t *testing.T, p *rabbitmq.Publisher, msgs []outbox.Message) []error {
	t.Helper()
	var results []error
	testenv.Eventually(t, patience, "verdicts", func() bool {
		results = p.Publish(t.Context(), msgs)
		return !outbox.IsUnavailable(errors.Join(results...))
	})
	return results
}

// wantEach checks that every result is of a class, and returns the text of the
// last.
func wantEach(t *testing.T, results []error, class error) string {
	t.Helper()
	for i, err := range results {
		if !errors.Is(err, class) {
			t.Errorf("message %d: got error %v, want class %q", i, err, class)
		}
	}
	return fmt.Sprint(results[len(results)-1])
}

func wantPublished(t *testing.T, results []error) {
	t.Helper()
	for i, err := range results {
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
}
