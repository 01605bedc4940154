package rabbitmq_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Declaring a queue that exists is an error unless every argument is the same.
func TestSourceDeclaresTopology(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(queueType.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *rabbitmq.SourceConfig) {
				c.QueueType = queueType
				c.SingleActiveConsumer = true
				c.RetryDelays = []time.Duration{5 * time.Second}
			})
			r.consume(1)
			major, _, _ := strings.Cut(r.conn.Properties["version"].(string), ".")
			with := func(args amqp.Table) amqp.Table {
				args["x-queue-type"] = queueType.String()
				if queueType == rabbitmq.Quorum && major != "3" {
					args["x-delivery-limit"] = int64(-1)
				}
				return args
			}
			main := amqp.Table{"x-single-active-consumer": true}
			retryQueue := amqp.Table{"x-message-ttl": int64(5000), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": r.names.Queue}
			if queueType == rabbitmq.Quorum {
				for _, args := range []amqp.Table{main, retryQueue} {
					args["x-dead-letter-strategy"] = "at-least-once"
					args["x-overflow"] = "reject-publish"
				}
				main["x-dead-letter-exchange"] = ""
				main["x-dead-letter-routing-key"] = r.names.DeadLetters
			}
			for queue, args := range map[string]amqp.Table{
				r.cfg.Queue:               with(main),
				r.cfg.Queue + ".retry.5s": with(retryQueue),
				r.cfg.Queue + ".dlq":      with(amqp.Table{"x-overflow": "reject-publish"}),
			} {
				if _, err := r.plain.QueueDeclare(queue, true, false, false, false, args); err != nil {
					t.Fatalf("%s: %v", queue, err)
				}
			}
			if err := r.plain.ExchangeDeclare(r.cfg.Exchange, "topic", true, false, false, false, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSourceRefusesOtherSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.plain.QueueDeclare(r.names.Queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.source.Consume(t.Context(), 10)
	if err == nil {
		t.Fatal("consumes a classic queue as quorum")
	}
	for _, want := range []string{"x-queue-type", "quorum", "classic", r.names.Queue, "delete it", "verify"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q: %v", want, err)
		}
	}
}

func TestSourceVerifyWaitsForMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.Topology = rabbitmq.Verify })
	deliveries := make(chan (<-chan inbox.Delivery), 1)
	go func() {
		from, err := r.source.Consume(t.Context(), 10)
		if err != nil {
			t.Error(err)
		}
		deliveries <- from
	}()
	testenv.Eventually(t, patience, "health to name what is missing", func() bool {
		connected, err := r.source.Health()
		return !connected && err != nil && strings.Contains(err.Error(), r.cfg.Exchange)
	})
	other := newRigAt(t, r.cfg.URL, func(c *rabbitmq.SourceConfig) {
		c.Queue, c.Exchange = r.cfg.Queue, r.cfg.Exchange
	})
	ctx, cancel := context.WithCancel(t.Context())
	other.consumeUntil(ctx, 1)
	other.end(cancel)
	from := <-deliveries
	r.publish("e1")
	r.ack(r.receiveID(from, "e1"))
}

func TestSourceSingleActiveConsumer(t *testing.T) {
	t.Parallel()
	single := func(c *rabbitmq.SourceConfig) { c.SingleActiveConsumer = true }
	r := newRig(t, single)
	active := r.consume(1)
	other := newRigAt(t, r.cfg.URL, single, func(c *rabbitmq.SourceConfig) {
		c.Queue, c.Exchange = r.cfg.Queue, r.cfg.Exchange
	})
	standby := other.consume(10)
	r.publish("e1")
	r.publish("e2") // more than the active one may hold
	held := r.receiveID(active, "e1")
	r.awaitDepth(r.names.Queue, 1)
	r.ack(held)
	r.ack(r.receiveID(active, "e2"))
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	r.publish("e3")
	other.ack(other.receiveID(standby, "e3"))
}

// awaitProblem consumes in the background and returns what health says once it
// says all of texts.
func (r *rig) awaitProblem(texts ...string) (err error) {
	r.t.Helper()
	go func() { _, _ = r.source.Consume(r.t.Context(), 1) }()
	testenv.Eventually(r.t, patience, "health to name the problem", func() bool {
		var connected bool
		if connected, err = r.source.Health(); connected || err == nil {
			return false
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				return false
			}
		}
		return true
	})
	return err
}

// In the mode Verify one message names everything that is missing with every
// argument, in a form that can be copied; following it is enough.
func TestSourceVerifyNamesEveryDifference(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.Topology = rabbitmq.Verify
			c.QueueType = queueType
		})
		all := append([]string{r.names.Queue, r.names.DeadLetters}, r.names.Retry[0].Queue, r.names.Retry[1].Queue)
		var quoted []string
		for _, name := range append(all, r.cfg.Exchange) {
			quoted = append(quoted, strconv.Quote(name))
		}
		err := r.awaitProblem(quoted...)
		if !strings.Contains(err.Error(), "pulsectl broker topology") {
			t.Errorf("no word of pulsectl: %v", err)
		}
		if err := r.plain.ExchangeDeclare(r.cfg.Exchange, "topic", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`queue "([^"]+)" \(durable, arguments (\{[^}]*\})\)`).FindAllStringSubmatch(err.Error(), -1)
		if len(found) != len(all) {
			t.Fatalf("%d queues with arguments in: %v", len(found), err)
		}
		for _, m := range found {
			var args map[string]any
			if err := json.Unmarshal([]byte(m[2]), &args); err != nil {
				t.Fatal(err)
			}
			table := amqp.Table{}
			for name, value := range args {
				if n, ok := value.(float64); ok {
					value = int64(n)
				}
				table[name] = value
			}
			if _, err := r.plain.QueueDeclare(m[1], true, false, false, false, table); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Eventually(t, patience, "the source to be content", func() bool {
			connected, err := r.source.Health()
			return connected && err == nil
		})
	})
}

// A retry queue that was created plainly keeps its messages for ever: it is not
// used. One that serves in another way is, and so is a queue with arguments of
// the user's own.
func TestSourceVerifyRefusesUnusableRetryQueue(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		log := new(strings.Builder)
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.Topology = rabbitmq.Verify
			c.QueueType = queueType
			c.RetryDelays = []time.Duration{200 * time.Millisecond}
			c.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		retryQueue := r.names.Retry[0].Queue
		declare := func(queue string, args amqp.Table) {
			t.Helper()
			if _, err := r.plain.QueueDeclare(queue, true, false, false, false, args); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.plain.ExchangeDeclare(r.cfg.Exchange, "topic", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		declare(r.names.Queue, amqp.Table{"x-max-length": int64(1000)}) // a classic one, bounded
		declare(r.names.DeadLetters, nil)
		declare(retryQueue, nil)
		err := r.awaitProblem(strconv.Quote(retryQueue), "x-message-ttl is not set instead of 200", "for ever", "x-dead-letter-routing-key is not set")
		if strings.Contains(err.Error(), strconv.Quote(r.names.DeadLetters)) {
			t.Errorf("blames other queues as well: %v", err)
		}
		for _, args := range []amqp.Table{
			{"x-message-ttl": int64(200)}, // expired, and gone
			{"x-message-ttl": int64(200), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "elsewhere"},
			{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": r.names.Queue},
		} {
			if _, err := r.plain.QueueDelete(retryQueue, false, false, false); err != nil {
				t.Fatal(err)
			}
			declare(retryQueue, args)
			wrong := "x-dead-letter-"
			if len(args) == 2 {
				wrong = "x-message-ttl is not set"
			}
			testenv.Eventually(t, patience, "health to name "+wrong, func() bool {
				connected, err := r.source.Health()
				return !connected && err != nil && strings.Contains(err.Error(), wrong) && strings.Contains(err.Error(), "cannot serve")
			})
		}
		if _, err := r.plain.QueueDelete(retryQueue, false, false, false); err != nil {
			t.Fatal(err)
		}
		declare(retryQueue, amqp.Table{"x-message-ttl": int64(300), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": r.names.Queue})
		testenv.Eventually(t, patience, "the source to be content", func() bool {
			connected, err := r.source.Health()
			return connected && err == nil
		})
		if err := r.source.Close(); err != nil { // nothing writes to the log any more
			t.Fatal(err)
		}
		for _, want := range []string{"x-max-length is 1000", "x-message-ttl is 300 instead of 200"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("the log says %q %d times", want, n)
			}
		}
	})
}

// What a mismatch says names every difference and what the queue should be.
func TestSourceDeclareNamesEveryDifference(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.plain.QueueDeclare(r.names.Retry[1].Queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum", "x-message-ttl": int64(5)}); err != nil {
		t.Fatal(err)
	}
	_, err := r.source.Consume(t.Context(), 10)
	if err == nil {
		t.Fatal("consumes")
	}
	for _, want := range []string{r.names.Retry[1].Queue, "x-message-ttl is 5 instead of 3600000", `x-dead-letter-exchange is not set instead of ""`,
		"x-overflow is not set", `arguments {"x-dead-letter-exchange":"",`, "delete it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}

// The layout is what a Source declares, and its definitions are what the
// broker's tools import.
func TestLayoutOfIsDeclared(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		r := newRig(t, func(c *rabbitmq.SourceConfig) {
			c.QueueType = queueType
			c.SingleActiveConsumer = true
			c.Topics = []string{"order.*", "billing.#"}
		})
		r.consume(1)
		layout, err := rabbitmq.LayoutOf(r.cfg, r.conn.Properties["version"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if len(layout.Queues) != 4 || len(layout.Bindings) != 2 || layout.Exchange.Name != r.cfg.Exchange {
			t.Errorf("%+v", layout)
		}
		for _, q := range layout.Queues { // exactly these arguments
			if _, err := r.plain.QueueDeclare(q.Name, true, false, false, false, q.Arguments); err != nil {
				t.Error(err)
			}
		}
		text, err := layout.Definitions("shop")
		if err != nil {
			t.Fatal(err)
		}
		var definitions struct {
			Exchanges []struct{ Name, VHost, Type string }
			Queues    []struct {
				Name, VHost string
				Durable     bool
				Arguments   map[string]any
			}
			Bindings []struct {
				Source, Destination string
				RoutingKey          string `json:"routing_key"`
			}
		}
		if err := json.Unmarshal(text, &definitions); err != nil {
			t.Fatal(err)
		}
		if len(definitions.Exchanges) != 1 || definitions.Exchanges[0].VHost != "shop" || len(definitions.Queues) != 4 || !definitions.Queues[0].Durable ||
			len(definitions.Queues[0].Arguments) != len(layout.Queues[0].Arguments) || definitions.Bindings[1].RoutingKey != "billing.#" {
			t.Errorf("%s", text)
		}
	}
	if _, err := rabbitmq.LayoutOf(rabbitmq.SourceConfig{URL: "amqp://localhost"}, ""); err == nil || !strings.Contains(err.Error(), "Queue") {
		t.Errorf("without a queue: %v", err)
	}
	newer, err := rabbitmq.LayoutOf(rabbitmq.SourceConfig{URL: "amqp://localhost", Queue: "q"}, "4.1.0")
	if err != nil || newer.Queues[0].Arguments["x-delivery-limit"] != int64(-1) {
		t.Errorf("RabbitMQ 4: %+v, %v", newer.Queues, err)
	}
}
