package rabbitmq_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// tryPublish publishes and reports whether the broker confirms.
func (r *rig) tryPublish(exchange, key, id string, headers amqp.Table) bool {
	r.t.Helper()
	confirm, err := r.plain.PublishWithDeferredConfirmWithContext(r.t.Context(), exchange, key, false, false, amqp.Publishing{
		MessageId: id, DeliveryMode: amqp.Persistent, Headers: headers, Body: []byte("{}"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	acked, err := confirm.WaitContext(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return acked
}

func TestSourceExchangeTypes(t *testing.T) {
	t.Parallel()
	type message struct {
		key     string
		headers amqp.Table
	}
	for _, c := range []struct {
		about string
		set   func(*rabbitmq.SourceConfig)
		// The messages that come, before one that does not.
		come []message
		not  message
	}{
		{"direct", func(c *rabbitmq.SourceConfig) { c.ExchangeType, c.Topics = "direct", []string{"a", "b"} },
			[]message{{key: "a"}, {key: "b"}}, message{key: "c"}},
		{"fanout", func(c *rabbitmq.SourceConfig) { c.ExchangeType = "fanout" },
			[]message{{key: ""}, {key: "a"}}, message{}},
		{"headers by topic", func(c *rabbitmq.SourceConfig) { c.ExchangeType, c.Topics = "headers", []string{"a"} },
			[]message{{"x", amqp.Table{"pulse-topic": "a"}}}, message{"a", amqp.Table{"pulse-topic": "b"}}},
		{"headers", func(c *rabbitmq.SourceConfig) {
			c.ExchangeType = "headers"
			c.MatchHeaders = []map[string]any{{"region": "eu", "version": 2}, {"x-match": "any", "vip": true, "tenant": nil}}
		}, []message{{"", amqp.Table{"region": "eu", "version": int64(2)}}, {"", amqp.Table{"vip": true}}, {"", amqp.Table{"tenant": "acme", "vip": false}}},
			message{"", amqp.Table{"region": "eu", "version": int64(1), "vip": false}}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
				r := newRigAt(t, url, c.set, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
				deliveries := r.consume(10)
				for _, m := range c.come {
					r.tryPublish(r.cfg.Exchange, m.key, "comes", m.headers)
					d := r.receiveID(deliveries, "comes")
					if d.Message.Topic != m.key && m.headers["pulse-topic"] == nil {
						t.Errorf("topic %q, want %q", d.Message.Topic, m.key)
					}
					r.ack(d)
				}
				if c.not.key == "" && c.not.headers == nil {
					return
				}
				r.tryPublish(r.cfg.Exchange, c.not.key, "does not", c.not.headers)
				r.tryPublish("", r.names.Queue, "last", nil)
				r.ack(r.receiveID(deliveries, "last"))
			})
		})
	}
}

// The user's arguments stand in the layout and on the broker, and work: a full
// queue refuses, and what it holds is handled and retried all the same.
func TestSourceQueueArguments(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		if queueType == rabbitmq.Classic {
			return // which takes no maximum length
		}
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.QueueArguments = map[string]any{"x-max-length": 3, "x-single-active-consumer": true, "x-overflow": "reject-publish"}
		})
		deliveries := r.consume(1)
		layout, err := rabbitmq.LayoutOf(r.cfg, r.conn.Properties["version"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if args := layout.Queues[0].Arguments; args["x-max-length"] != int64(3) || args["x-single-active-consumer"] != true {
			t.Errorf("layout has %v", args)
		}
		for _, q := range layout.Queues {
			if _, err := r.plain.QueueDeclare(q.Name, true, false, false, false, q.Arguments); err != nil {
				t.Error(err)
			}
		}
		accepted := 0
		for accepted < 100 && r.tryPublish("", r.names.Queue, "e", nil) {
			accepted++
		}
		if accepted < 3 || accepted == 100 { // RabbitMQ takes some more
			t.Errorf("%d messages were accepted", accepted)
		}
		for range accepted - 1 {
			r.ack(r.receiveID(deliveries, "e"))
		}
		// With room in the queue: what a full one refuses of a retry comes minutes later.
		r.settle(retry(r.receiveID(deliveries, "e"), 0, nil))
		r.ack(r.receiveID(deliveries, "e"))
	})
}

// A queue that has the maximum length, but drops its oldest messages then, is
// not used.
func TestSourceRefusesQueueThatDropsOldest(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.QueueArguments = map[string]any{"x-max-length": 3} })
	args := amqp.Table{"x-queue-type": "quorum", "x-max-length": int64(3)}
	if _, err := r.plain.QueueDeclare(r.names.Queue, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	if _, err := r.source.Consume(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "drop its oldest") {
		t.Errorf("error %v", err)
	}
}

func TestNewSourceChecksRoutingAndArguments(t *testing.T) {
	t.Parallel()
	for says, set := range map[string]func(*rabbitmq.SourceConfig){
		`ExchangeType: "topik"; use topic`:            func(c *rabbitmq.SourceConfig) { c.ExchangeType = "topik" },
		"Topics: a fanout exchange":                   func(c *rabbitmq.SourceConfig) { c.ExchangeType, c.Topics = "fanout", []string{"a"} },
		`Topics[1]: "a.*"; only a topic exchange`:     func(c *rabbitmq.SourceConfig) { c.ExchangeType, c.Topics = "direct", []string{"a", "a.*"} },
		"MatchHeaders: the exchange is of type topic": func(c *rabbitmq.SourceConfig) { c.MatchHeaders = []map[string]any{{"a": "b"}} },
		"MatchHeaders: Topics are set": func(c *rabbitmq.SourceConfig) {
			c.ExchangeType, c.Topics, c.MatchHeaders = "headers", []string{"a"}, []map[string]any{{"a": 1}}
		},
		"MatchHeaders[0]: is empty": func(c *rabbitmq.SourceConfig) { c.ExchangeType, c.MatchHeaders = "headers", []map[string]any{{}} },
		`MatchHeaders[0]["x-match"]: some`: func(c *rabbitmq.SourceConfig) {
			c.ExchangeType, c.MatchHeaders = "headers", []map[string]any{{"x-match": "some"}}
		},
		`MatchHeaders[0]["a"]: a []string`: func(c *rabbitmq.SourceConfig) {
			c.ExchangeType, c.MatchHeaders = "headers", []map[string]any{{"a": []string{}}}
		},
		`QueueArguments["x-overflow"]: drop-head conflicts`:       own("x-overflow", "drop-head"),
		`QueueArguments["x-queue-type"]: stream; set QueueType`:   own("x-queue-type", "stream"),
		`QueueArguments["x-delivery-limit"]: attempts`:            own("x-delivery-limit", -1),
		`QueueArguments["x-dead-letter-exchange"]: dlx conflicts`: own("x-dead-letter-exchange", "dlx"),
		`QueueArguments["x-expires"]: the queue would vanish`:     own("x-expires", 1000),
		`QueueArguments["x-max-length"]: a float64`:               own("x-max-length", 1.5),
		`QueueArguments["x-max-length"]: on a Classic queue`: func(c *rabbitmq.SourceConfig) {
			own("x-max-length", 10)(c)
			c.QueueType = rabbitmq.Classic
		},
		`QueueArguments["x-single-active-consumer"]: false conflicts`: func(c *rabbitmq.SourceConfig) {
			own("x-single-active-consumer", false)(c)
			c.SingleActiveConsumer = true
		},
	} {
		cfg := rabbitmq.SourceConfig{URL: "amqp://localhost", Queue: "q"}
		set(&cfg)
		if _, err := rabbitmq.NewSource(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
	cfg := rabbitmq.SourceConfig{URL: "amqp://localhost", Queue: "q"}
	own("x-queue-type", "quorum")(&cfg) // the same
	own("x-dead-letter-routing-key", "q.dlq")(&cfg)
	if _, err := rabbitmq.LayoutOf(cfg, ""); err != nil {
		t.Error(err)
	}
}

// own sets one more argument of the queue.
func own(name string, value any) func(*rabbitmq.SourceConfig) {
	return func(c *rabbitmq.SourceConfig) {
		if c.QueueArguments == nil {
			c.QueueArguments = make(map[string]any)
		}
		c.QueueArguments[name] = value
	}
}

func TestLayoutDefinitionsHeadersExchange(t *testing.T) {
	t.Parallel()
	layout, err := rabbitmq.LayoutOf(rabbitmq.SourceConfig{
		Queue: "q", URL: "amqp://localhost", ExchangeType: "headers", MatchHeaders: []map[string]any{{"region": "eu"}},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := layout.Definitions("/")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Exchanges []struct{ Type string }
		Bindings  []map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"source": "pulse.events", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "",
		"arguments": map[string]any{"x-match": "all", "region": "eu"}}}
	if got.Exchanges[0].Type != "headers" || !reflect.DeepEqual(got.Bindings, want) {
		t.Errorf("%s", text)
	}
}
