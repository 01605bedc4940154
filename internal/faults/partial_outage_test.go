package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// bindQueue binds a queue of a type, named after its topic, and returns its
// name.
func (s *system) bindQueue(topic, queueType string, args amqp.Table) (queue string) {
	s.t.Helper()
	ch := s.channel()
	if err := ch.ExchangeDeclare(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		s.t.Fatal(err)
	}
	all := amqp.Table{"x-queue-type": queueType}
	for name, value := range args {
		all[name] = value
	}
	q, err := ch.QueueDeclare(testenv.UniqueName(s.t, topic), true, false, false, false, all)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, topic, s.exchange, false, nil); err != nil {
		s.t.Fatal(err)
	}
	return q.Name
}

// messages returns n messages of a topic, each with another key.
func messages(topic string, n int) (msgs []outbox.Message) {
	for range n {
		m := outbox.NewMessage(topic, []byte(`{}`))
		m.Key = uuid.NewString()
		msgs = append(msgs, m)
	}
	return msgs
}

func (s *system) awaitPublished(topic string, n int) {
	s.t.Helper()
	s.awaitCount(n, s.ordersDB, `outbox_messages WHERE topic = $1 AND status = 'published'`, topic)
}

// F60: of several queues two, a quorum queue and a classic one, accept messages
// and confirm none.
func TestF60HangingQueues(t *testing.T) {
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	s := newSystem(t, server.URL())
	s.startNotifications()
	orders := s.startOrders()
	const quorum, classic = "payment.made", "stock.changed"
	queues := []string{s.bindQueue(quorum, "quorum", nil), s.bindQueue(classic, "classic", nil)}
	enqueue := func(n int) {
		s.enqueue(messages(quorum, n)...)
		s.enqueue(messages(classic, n)...)
	}
	enqueue(10)
	s.place(10)
	s.awaitPublished(quorum, 10)
	s.awaitPublished(classic, 10)
	s.awaitSettled()

	resume := []func(){server.HangQueue(queues[0]), server.HangQueue(queues[1])}
	enqueue(200)
	during := s.place(50) // enqueued after the ones that wait
	s.awaitCount(60, s.notificationsDB, `notifications`)
	testenv.Eventually(t, patience, "health to name a topic", func() bool {
		h := orders.health(t)
		return h.Status == "ready" && h.Relay.State == "degraded" && strings.Contains(h.Relay.LastError, "suspended") &&
			len(h.Relay.Suspended) == 2 && h.Relay.Suspended[0].Waiting+h.Relay.Suspended[1].Waiting == 400
	})
	s.place(50) // they are still published
	s.awaitCount(110, s.notificationsDB, `notifications`)
	if n := s.count(s.ordersDB, `outbox_messages WHERE topic <> 'order.created' AND status = 'published'`); n != 20 {
		t.Errorf("%d messages of hanging queues are published, want the 20 of before", n)
	}

	for _, f := range resume {
		f()
	}
	s.awaitPublished(quorum, 210)
	s.awaitPublished(classic, 210)
	testenv.Eventually(t, patience, "the relay to recover", func() bool { return orders.health(t).Relay.State == "running" })
	s.requireNoAttempts()
	s.requireOrders(during)
	s.requireClean(exceptions{})
}

// F61: two queues are bound to a topic, and one is full.
func TestF61OneFullQueueOfTwo(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	full := s.bindQueue("order.created", "classic", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	orders := s.startOrders()
	other := s.bindOther()
	s.place(5) // one message fits
	s.awaitCount(4, s.ordersDB, `outbox_messages WHERE status = 'pending' AND attempts > 1`)
	s.requireFlow(other)
	for _, a := range s.attempts() {
		for _, want := range []string{"nacked", `routing key "order.created"`, "full", "other queues"} {
			if !strings.Contains(a.Error, want) {
				t.Errorf("attempt says %q, without %q", a.Error, want)
			}
		}
	}
	if h := orders.health(t); h.Relay.State != "running" {
		t.Errorf("relay %+v: a queue that is full is no outage", h.Relay)
	}
	s.awaitCount(5, s.notificationsDB, `notifications`) // the other queue has all of them
	testenv.Eventually(t, patience, "copies to be recognised", func() bool { return consumer.health(t).Consumer.Duplicates > 0 })

	if _, err := s.channel().QueueDelete(full, false, false, false); err != nil {
		t.Fatal(err)
	}
	s.awaitSettled()
	s.requireClean(exceptions{})
}

// F62: one queue confirms more slowly than the publisher waits.
func TestF62SlowConfirms(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	proxy := rabbittest.NewProxy(t, s.amqpURL)
	s.startNotifications()
	const slow = "payment.made"
	queue := s.bindQueue(slow, "quorum", nil)
	relay := s.startRelay(proxy.URL(), func(c *rabbitmq.PublisherConfig) { c.StallTimeout = 200 * time.Millisecond }, nil)
	s.place(5)
	s.enqueue(messages(slow, 5)...)
	s.awaitPublished(slow, 5)

	proxy.Withhold(slow)
	s.enqueue(messages(slow, 40)...)
	testenv.Eventually(t, patience, "the topic to be suspended", func() bool {
		h := relay.Health()
		return len(h.Suspended) == 1 && h.Suspended[0].Topic == slow && h.Suspended[0].Waiting == 40
	})
	s.place(20)
	s.awaitCount(25, s.notificationsDB, `notifications`)
	proxy.Release(slow) // the late confirms arrive
	s.awaitPublished(slow, 45)
	s.requireNoAttempts()
	q, err := s.channel().QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.Messages != 45 {
		t.Errorf("%d copies of 45 messages: some were sent again although they were only confirmed late", q.Messages)
	}
	s.requireClean(exceptions{})
}

// F60: RabbitMQ refuses what it has had for half a minute for a quorum queue without a
// majority. However few attempts a message has, none is counted, and the topic stays
// suspended; once there is room, it is published.
func TestF60LateRefusals(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	proxy := rabbittest.NewProxy(t, s.amqpURL)
	s.startNotifications()
	const silent = "payment.made"
	queue := s.bindQueue(silent, "classic", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	relay := s.startRelay(proxy.URL(), func(c *rabbitmq.PublisherConfig) { c.StallTimeout = 200 * time.Millisecond },
		func(c *outbox.RelayConfig) { c.MaxAttempts = 1 })
	s.place(5)
	s.enqueue(messages(silent, 1)...)
	s.awaitPublished(silent, 1)

	proxy.Withhold(silent)
	s.enqueue(messages(silent, 1)...)
	testenv.Eventually(t, patience, "the topic to be suspended", func() bool {
		h := relay.Health()
		return len(h.Suspended) == 1 && h.Suspended[0].Topic == silent && h.Suspended[0].Waiting == 1
	})
	if _, err := s.channel().QueuePurge(queue, false); err != nil {
		t.Fatal(err)
	}
	proxy.Release(silent) // the late refusal arrives
	s.awaitPublished(silent, 2)
	testenv.Eventually(t, patience, "the relay to recover", func() bool { return relay.Health().State == outbox.RelayRunning })
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// startRelay runs a relay that connects to the broker at url.
func (s *system) startRelay(url string, publisher func(*rabbitmq.PublisherConfig), change func(*outbox.RelayConfig)) *outbox.Relay {
	s.t.Helper()
	cfg := rabbitmq.PublisherConfig{URL: url, Exchange: s.exchange, Producer: "orders", Logger: logger(s.t)}
	if publisher != nil {
		publisher(&cfg)
	}
	p, err := rabbitmq.NewPublisher(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	settings := relayConfig()
	settings.Logger = logger(s.t)
	if change != nil {
		change(&settings)
	}
	db := openDB(s.t, s.ordersURL)
	ob, err := outbox.New(db)
	if err != nil {
		s.t.Fatal(err)
	}
	relay, err := outbox.NewRelay(ob, p, settings)
	if err != nil {
		s.t.Fatal(err)
	}
	s.background(func(ctx context.Context) error { return errors.Join(relay.Run(ctx), p.Close()) })
	return relay
}

// F63: one of two relays is cut off from the broker, but not from the database.
func TestF63RelayCutOffFromTheBroker(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*rabbittest.Proxy){
		"connections break": (*rabbittest.Proxy).Cut,
		"silence":           (*rabbittest.Proxy).Silence,
		"blocked":           func(p *rabbittest.Proxy) { p.Block("low on memory") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, testenv.RabbitMQ(t))
			s.startNotifications()
			proxy := rabbittest.NewProxy(t, s.amqpURL)
			longer := func(c *outbox.RelayConfig) { c.LeaseTTL = 6 * time.Second }
			lame := s.startRelay(proxy.URL(), nil, longer)
			well := s.startRelay(s.amqpURL, nil, longer)
			leases := func(a, b int) {
				t.Helper()
				testenv.Eventually(t, patience, fmt.Sprintf("leases to be %d and %d", a, b), func() bool {
					return lame.Health().Leases == a && well.Health().Leases == b
				})
			}
			leases(32, 32)
			s.place(20)
			s.awaitSettled()

			cut(proxy)
			s.place(50)
			leases(0, 64)
			s.awaitSettled()
			if h := lame.Health(); h.State != outbox.RelayDegraded || h.LastError == nil || !strings.Contains(h.LastError.Error(), "left to other relays") {
				t.Errorf("health %+v", h)
			}
			s.requireNoAttempts()

			proxy.Restore()
			leases(32, 32)
			s.place(50)
			s.awaitSettled()
			testenv.Eventually(t, patience, "the relay to recover", func() bool { return lame.Health().State == outbox.RelayRunning })
			s.requireNoAttempts()
			s.requireClean(exceptions{})
		})
	}
}

// F64: a queue stops accepting messages while many large ones are on their way
// to it: RabbitMQ stops reading from the whole connection. The connection is
// opened again, and other topics go on.
func TestF64QueueStopsConnection(t *testing.T) {
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	s := newSystem(t, server.URL())
	s.startNotifications()
	const stuck = "payment.made"
	queue := s.bindQueue(stuck, "quorum", nil)
	relay := s.startRelay(server.URL(), nil, nil)
	large := func(n int) []outbox.Message {
		msgs := messages(stuck, n)
		for i := range msgs {
			msgs[i].Payload = bytes.Repeat([]byte("x"), 20<<10)
		}
		return msgs
	}
	s.enqueue(large(100)...)
	s.place(10)
	s.awaitPublished(stuck, 100)
	resume := server.HangQueue(queue)
	for range 10 {
		s.enqueue(large(200)...)
	}
	s.place(100)
	s.awaitCount(110, s.notificationsDB, `notifications`)
	if h := relay.Health(); len(h.Suspended) != 1 || h.Suspended[0].Topic != stuck {
		t.Errorf("health %+v", h)
	}
	resume()
	s.awaitPublished(stuck, 2100)
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}
