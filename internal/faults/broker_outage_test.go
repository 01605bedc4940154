package faults_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// F1: the broker is stopped under load, and started again.
func TestF1BrokerStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	s := newSystem(t, server.URL())
	consumer := s.startNotifications()
	orders := s.startOrders()
	load := startLoad(t, orders.url, 2)
	s.awaitCount(50, s.notificationsDB, `notifications`)

	server.Stop()
	s.awaitOutage(orders)
	load.await(100) // every one of them is answered with 201
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending'`); n < 100 {
		t.Errorf("%d rows are pending, want the 100 or more of the outage", n)
	}
	if n := s.count(s.ordersDB, `outbox_messages WHERE attempts <> 0 OR last_error <> ''`); n != 0 {
		t.Errorf("%d rows count an attempt for the outage", n)
	}
	if h := orders.health(t); h.Status != "ready" || h.Relay.LastError == "" {
		t.Errorf("health of orders: %+v, want ready, and the relay's error", h)
	}
	if h := consumer.health(t); h.Status != "ready" || h.Consumer.State != "degraded" {
		t.Errorf("health of notifications: %+v, want ready with a degraded consumer", h)
	}

	server.Start() // and nothing else
	testenv.Eventually(t, patience, "the relay to recover", func() bool { return orders.health(t).Relay.State == "running" })
	load.await(20)
	answered := load.end()
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireOrders(answered)

	consumer.stop()
	restarted := s.startNotifications()
	s.deliverAgain(answered[:10])
	wantDuplicates(t, restarted, 10)
	s.requireClean(exceptions{})
}

// awaitOutage waits until the orders service reports a degraded relay without a
// connection, and checks that the service is still ready.
func (s *system) awaitOutage(orders *service) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, "the relay to notice", func() bool {
		h := orders.health(s.t)
		if h.Status != "ready" {
			s.t.Fatalf("health %+v, want ready: orders do not need the broker", h)
		}
		return h.Relay.State == "degraded" && !h.Relay.Connected
	})
}

// deliverAgain publishes another copy of each event, like a replay.
func (s *system) deliverAgain(of []placed) {
	s.t.Helper()
	msgs := make([]outbox.Message, len(of))
	for i, p := range of {
		msgs[i] = s.record(p.EventID).Message
	}
	s.publish(msgs...)
}

// publish publishes messages without an outbox.
func (s *system) publish(msgs ...outbox.Message) {
	s.t.Helper()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: s.amqpURL, Exchange: s.exchange, Producer: "replay", Logger: logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer publisher.Close()
	ctx, cancel := context.WithTimeoutCause(s.t.Context(), patience, errors.New("the test's patience is over"))
	defer cancel()
	if err := errors.Join(publisher.Publish(ctx, msgs)...); err != nil {
		s.t.Fatalf("publish again: %v", err)
	}
}

// F2: the broker is killed while the relay drains a backlog: it is unknown
// which of the unconfirmed messages the broker has stored.
func TestF2BrokerKilledMidBurst(t *testing.T) {
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	s := newSystem(t, server.URL())
	s.startNotifications()
	s.place(2000)
	orders := s.startOrders(func(c *stdlib.OrdersConfig) { c.Relay.BatchSize, c.Relay.Lanes = 50, 2 })
	s.awaitCount(200, s.ordersDB, `outbox_messages WHERE status = 'published'`)

	server.Kill()
	s.awaitOutage(orders)
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending'`); n == 0 {
		t.Fatal("the burst was over before the broker was killed: nothing was tested")
	}
	if n := s.count(s.ordersDB, `outbox_messages WHERE status NOT IN ('pending', 'published')`); n != 0 {
		t.Errorf("%d rows are neither pending nor published", n)
	}
	load := startLoad(t, orders.url, 1)
	load.await(10)
	s.requireOrders(load.end())

	server.Start()
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// F3: frames from the broker, with its confirms, no longer arrive; then the
// connection breaks.
func TestF3ConfirmsLost(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	proxy := rabbittest.NewProxy(t, s.amqpURL)
	s.startOrders(func(c *stdlib.OrdersConfig) { c.AMQPURL = proxy.URL() })
	s.place(20) // opens what needs the broker's answers
	s.awaitCount(20, s.ordersDB, `outbox_messages WHERE status = 'published'`)

	proxy.Silence()
	orders := s.place(20)
	s.awaitCount(21, s.notificationsDB, `notifications`) // at least one of them has arrived
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending' AND attempts = 0`); n != len(orders) {
		t.Errorf("%d rows are pending without an attempt, want %d", n, len(orders))
	}
	early := s.count(s.notificationsDB, `notifications`) - 20 // will be published again
	proxy.Restore()                                           // breaks the silent connections
	s.awaitSettled()
	for _, p := range orders {
		if n := len(tap.copies(p.EventID)); n < 1 || n > 2 {
			t.Errorf("event %s: %d copies on the wire, want 1 or 2", p.EventID, n)
		}
	}
	tap.requireKnown(consumer, early)
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// F4: the broker is short of memory or disk and blocks publishers.
func TestF4BrokerAlarm(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications()
	proxy := rabbittest.NewProxy(t, s.amqpURL)
	orders := s.startOrders(func(c *stdlib.OrdersConfig) { c.AMQPURL = proxy.URL() })
	s.place(20)
	s.awaitCount(20, s.notificationsDB, `notifications`)

	proxy.Block("low on memory")
	load := startLoad(t, orders.url, 1)
	load.await(20)
	testenv.Eventually(t, patience, "health to tell the broker's reason", func() bool {
		h := orders.health(t)
		return h.Status == "ready" && h.Relay.State == "degraded" && strings.Contains(h.Relay.LastError, "low on memory")
	})
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending'`); n < 20 {
		t.Errorf("%d rows are pending, want the 20 or more of the alarm", n)
	}
	if n := proxy.Connections(); n > 1 {
		t.Errorf("%d connections to a broker that blocks, want 1", n)
	}
	proxy.Restore()
	s.requireOrders(load.end())
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}
