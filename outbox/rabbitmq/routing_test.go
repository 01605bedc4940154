package rabbitmq_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// eachBroker runs a test against RabbitMQ and the development broker.
func eachBroker(t *testing.T, test func(t *testing.T, b broker)) {
	for name, url := range map[string]func(*testing.T) string{
		"RabbitMQ":  func(t *testing.T) string { return testenv.RabbitMQ(t) },
		"devbroker": func(t *testing.T) string { return devbroker.NewTest(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			u := url(t)
			test(t, broker{url: u, publisherURL: u, exchange: testenv.UniqueName(t, "pulse.test")})
		})
	}
}

// bind binds a queue of its own to the exchange, of a type, and returns its name.
func (b broker) bind(t *testing.T, exchangeType, key string, args amqp.Table) (queue string) {
	t.Helper()
	queue = testenv.UniqueName(t, "queue")
	b.do(t, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(b.exchange, exchangeType, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			return err
		}
		return ch.QueueBind(queue, key, b.exchange, false, args)
	})
	return queue
}

// wantIDs checks which messages a queue holds.
func (b broker) wantIDs(t *testing.T, queue string, msgs ...outbox.Message) {
	t.Helper()
	for i, d := range b.take(t, queue, len(msgs)) {
		if d.MessageId != msgs[i].ID.String() {
			t.Errorf("queue %s, message %d: id %s, want %s", queue, i, d.MessageId, msgs[i].ID)
		}
	}
	b.empty(t, queue)
}

func TestPublisherRoutingKey(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		eu, us := b.bind(t, "direct", "orders.eu", nil), b.bind(t, "direct", "orders.us", nil)
		cfg := b.config(t)
		cfg.ExchangeType = "direct"
		cfg.RoutingKey = func(m outbox.Message) string { return "orders." + m.Headers["region"] }
		msgs := newMessages(topic, 4)
		for i, region := range []string{"eu", "us", "mars", "eu"} {
			msgs[i].Headers = map[string]string{"region": region}
		}
		results := publishSoon(t, newPublisher(t, cfg), msgs)
		wantPublished(t, []error{results[0], results[1], results[3]})
		if text := wantEach(t, results[2:3], outbox.ErrUnroutable); !strings.Contains(text, "orders.mars") {
			t.Errorf("error %s does not name the routing key", text)
		}
		b.wantIDs(t, eu, msgs[0], msgs[3])
		b.wantIDs(t, us, msgs[1])
	})
}

func TestPublisherFanoutExchange(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		one, two := b.bind(t, "fanout", "", nil), b.bind(t, "fanout", "any", nil)
		cfg := b.config(t)
		cfg.ExchangeType = "fanout"
		msgs := newMessages(topic, 2)
		wantPublished(t, publishSoon(t, newPublisher(t, cfg), msgs))
		b.wantIDs(t, one, msgs...)
		b.wantIDs(t, two, msgs...)
	})
}

// A headers exchange sees the message's own headers, those of the contract and
// those of RoutingHeaders, with their types.
func TestPublisherHeadersExchange(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		own := b.bind(t, "headers", "", amqp.Table{"tenant": "acme"})
		added := b.bind(t, "headers", "", amqp.Table{"x-match": "all", "priority": int64(7), "express": true, "pulse-topic": topic})
		cfg := b.config(t)
		cfg.ExchangeType = "headers"
		cfg.RoutingHeaders = func(m outbox.Message) map[string]any {
			switch m.Key {
			case "express":
				return map[string]any{"priority": int64(7), "express": true, "tenant": "other"}
			case "reserved":
				return map[string]any{"pulse-topic": "other"}
			case "no type":
				return map[string]any{"list": []string{"a"}}
			}
			return nil
		}
		msgs := newMessages(topic, 5)
		for i, key := range []string{"", "express", "reserved", "no type", "other"} {
			msgs[i].Key, msgs[i].Headers = key, map[string]string{"tenant": "acme"}
		}
		msgs[4].Headers = nil
		results := publishSoon(t, newPublisher(t, cfg), msgs)
		wantPublished(t, results[:2])
		wantEach(t, results[2:4], outbox.ErrPermanent)
		if text := wantEach(t, results[4:], outbox.ErrUnroutable); !strings.Contains(text, "bind a queue by headers, such as pulse-topic") {
			t.Errorf("%q does not advise to bind by headers", text)
		}
		b.wantIDs(t, own, msgs[0])
		b.wantIDs(t, added, msgs[1])
		if msgs[1].Headers["tenant"] != "acme" {
			t.Error("the caller's headers were changed")
		}
	})
}

// The topic has a header where the routing key does not say it, or it is wanted.
func TestPublisherTopicHeader(t *testing.T) {
	for about, c := range map[string]struct {
		set  func(*rabbitmq.PublisherConfig)
		want any
	}{
		"the routing key says it": {func(*rabbitmq.PublisherConfig) {}, nil},
		"wanted":                  {func(c *rabbitmq.PublisherConfig) { c.TopicHeader = true }, topic},
		"another routing key": {func(c *rabbitmq.PublisherConfig) {
			c.RoutingKey = func(m outbox.Message) string { return "eu." + m.Topic }
		}, topic},
	} {
		t.Run(about, func(t *testing.T) {
			b := newBroker(t)
			queue := b.bind(t, "topic", "#", nil)
			cfg := b.config(t)
			c.set(&cfg)
			wantPublished(t, publishSoon(t, newPublisher(t, cfg), newMessages(topic, 1)))
			if got := b.take(t, queue, 1)[0].Headers["pulse-topic"]; got != c.want {
				t.Errorf("pulse-topic is %v, want %v", got, c.want)
			}
		})
	}
}

// Where no queue is wanted, a confirm is enough; other topics are not affected.
func TestPublisherAllowUnroutable(t *testing.T) {
	eachBroker(t, func(t *testing.T, b broker) {
		queue := b.bind(t, "topic", "audit.kept", nil)
		cfg := b.config(t)
		cfg.AllowUnroutable = func(topic string) bool { return strings.HasPrefix(topic, "audit.") }
		msgs := []outbox.Message{outbox.NewMessage("audit.lost", nil), outbox.NewMessage("order.created", nil), outbox.NewMessage("audit.kept", nil)}
		results := publishSoon(t, newPublisher(t, cfg), msgs)
		wantPublished(t, []error{results[0], results[2]})
		wantEach(t, results[1:2], outbox.ErrUnroutable)
		b.wantIDs(t, queue, msgs[2])
	})
}

func TestNewPublisherChecksExchangeType(t *testing.T) {
	for kind, says := range map[string]string{"topik": `ExchangeType: "topik"; use topic`, "x-consistent-hash": "", "headers": ""} {
		p, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: "amqp://localhost:1", ExchangeType: kind})
		if err == nil {
			_ = p.Close()
		}
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", kind, err, says)
		}
	}
}

// A publisher on an exchange that exists already: of type headers, routed by a
// region, and with topics that nobody has to listen to.
func ExamplePublisherConfig_routing() {
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL:          "amqp://guest:guest@localhost:5672/",
		Exchange:     "company.events",
		ExchangeType: "headers",
		Topology:     rabbitmq.Verify, // others create it
		RoutingHeaders: func(m outbox.Message) map[string]any {
			return map[string]any{"region": "eu", "version": int64(2)}
		},
		AllowUnroutable: func(topic string) bool { return topic == "order.viewed" },
	})
	if err != nil {
		panic(err)
	}
	defer publisher.Close()
}
