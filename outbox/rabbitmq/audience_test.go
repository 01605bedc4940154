package rabbitmq_test

import (
	"errors"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func withManagement(c *devbroker.Config) { c.ManagementAddr = "127.0.0.1:0" }

// A message of a topic with an audience is published only if every queue is bound,
// also behind other exchanges; other topics need one.
func TestPublisherAudience(t *testing.T) {
	for name, servers := range map[string]func(*testing.T) (url, management string){
		"RabbitMQ": func(t *testing.T) (string, string) { return testenv.RabbitMQManaged(t) },
		"devbroker": func(t *testing.T) (string, string) {
			dev := devbroker.NewTest(t, withManagement)
			return dev.URL(), dev.ManagementURL()
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, management := servers(t)
			b := broker{url: url, publisherURL: url, exchange: testenv.UniqueName(t, "pulse.test")}
			const billing, another = "billing", "stock.changed"
			b.queue(t, topic, nil)
			b.queue(t, another, nil)
			behind := testenv.UniqueName(t, "behind")
			bind := func() {
				b.do(t, func(ch *amqp.Channel) error {
					_, err := ch.QueueDeclare(billing, true, false, false, false, nil)
					return errors.Join(err, ch.ExchangeDeclare(behind, "direct", true, false, false, false, nil),
						ch.ExchangeBind(behind, "order.*", b.exchange, false, nil), ch.QueueBind(billing, topic, behind, false, nil))
				})
			}
			bind()
			cfg := b.config(t)
			cfg.Audiences, cfg.ManagementURL = map[string][]string{topic: {topic, billing}}, management
			p := newPublisher(t, cfg)
			wantPublished(t, publishSoon(t, p, newMessages(topic, 3)))
			b.take(t, topic, 3)
			b.take(t, billing, 3)

			b.do(t, func(ch *amqp.Channel) error { return ch.QueueUnbind(billing, topic, behind, nil) })
			held := func(msgs []outbox.Message) {
				t.Helper()
				text := wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
				for _, want := range []string{rabbitmq.ErrAudience.Error(), topic, `queue "billing"`, "rabbitmqadmin", "destination=billing"} {
					if !strings.Contains(text, want) {
						t.Errorf("%q does not say %q", text, want)
					}
				}
			}
			msgs := newMessages(topic, 5)
			held(msgs) // which may have been on their way
			b.do(t, func(ch *amqp.Channel) error { _, err := ch.QueuePurge(topic, false); return err })
			held(msgs)
			b.empty(t, topic)
			if err := p.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			wantPublished(t, p.Publish(t.Context(), newMessages(another, 2)))
			b.take(t, another, 2)
			bind()
			wantPublished(t, p.Publish(t.Context(), msgs))
			b.take(t, topic, 5)
			b.take(t, billing, 5)

			// Nobody is there: it is returned, and counts no attempt.
			b.do(t, func(ch *amqp.Channel) error {
				return errors.Join(ch.QueueUnbind(billing, topic, behind, nil), ch.QueueUnbind(topic, topic, b.exchange, nil))
			})
			wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
			b.do(t, func(ch *amqp.Channel) error {
				return errors.Join(ch.QueueBind(topic, topic, b.exchange, false, nil), ch.QueueBind(billing, topic, behind, false, nil))
			})
			wantPublished(t, p.Publish(t.Context(), msgs))
		})
	}
}

// Without an answer of the management API nothing of such a topic is sent, and
// other topics go on.
func TestPublisherAudienceCannotBeLookedUp(t *testing.T) {
	dev := devbroker.NewTest(t, withManagement)
	b := broker{url: dev.URL(), publisherURL: dev.URL(), exchange: "pulse.test"}
	b.queue(t, topic, nil)
	b.queue(t, "stock.changed", nil)
	for about, management := range map[string]string{"nobody listens": "http://127.0.0.1:1", "wrong password": strings.Replace(dev.ManagementURL(), ":guest@", ":wrong@", 1)} {
		cfg := b.config(t)
		cfg.Audiences, cfg.ManagementURL = map[string][]string{topic: {topic}}, management
		p := newPublisher(t, cfg)
		wantPublished(t, publishSoon(t, p, newMessages("stock.changed", 1)))
		results := p.Publish(t.Context(), append(newMessages(topic, 2), newMessages("stock.changed", 1)...))
		wantPublished(t, results[2:])
		text := wantEach(t, results[:2], outbox.ErrUnavailable)
		if !errors.Is(results[0], rabbitmq.ErrBindings) || strings.Contains(text, "wrong") {
			t.Errorf("%s: %s", about, text)
		}
		b.empty(t, topic)
	}
}

func TestPublisherAudienceConfig(t *testing.T) {
	for want, change := range map[string]func(*rabbitmq.PublisherConfig){
		"set ManagementURL": func(c *rabbitmq.PublisherConfig) { c.ManagementURL = "" },
		"is not a URL":      func(c *rabbitmq.PublisherConfig) { c.ManagementURL = "host:hunter2" },
		"has no queue":      func(c *rabbitmq.PublisherConfig) { c.Audiences["empty"] = nil },
		"AllowUnroutable":   func(c *rabbitmq.PublisherConfig) { c.AllowUnroutable = func(string) bool { return true } },
	} {
		cfg := rabbitmq.PublisherConfig{URL: "amqp://127.0.0.1:1/", Audiences: map[string][]string{topic: {topic}}, ManagementURL: "http://127.0.0.1:1"}
		change(&cfg)
		if _, err := rabbitmq.NewPublisher(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
