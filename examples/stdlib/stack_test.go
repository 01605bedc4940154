package stdlib_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// stack is both services on one platform.
type stack struct {
	orders, notifications     string // URLs
	ordersDB, notificationsDB *sqlx.DB
	logs, notificationsLogs   *journal
	amqpURL, exchange, queue  string
	cfg                       stdlib.NotificationsConfig
	stopNotifications         func()
}

// startStack starts the consumer first, so that the queue exists before
// anything is published.
func startStack(t *testing.T, on platform) *stack {
	t.Helper()
	s := &stack{
		amqpURL:  on.broker(t),
		exchange: testenv.UniqueName(t, "pulse.events"),
		queue:    testenv.UniqueName(t, "order.created"),
	}
	s.cfg.Settings, s.notificationsLogs = settings(t, on)
	s.cfg.AMQPURL, s.cfg.Exchange, s.cfg.Queue = s.amqpURL, s.exchange, s.queue
	s.startNotifications(t)

	var cfg stdlib.OrdersConfig
	cfg.Settings, s.logs = settings(t, on)
	cfg.AMQPURL, cfg.Exchange = s.amqpURL, s.exchange
	service, err := stdlib.NewOrders(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.orders = start(t, service)
	s.ordersDB, s.notificationsDB = open(t, cfg.DatabaseURL), open(t, s.cfg.DatabaseURL)
	return s
}

func (s *stack) startNotifications(t *testing.T) {
	t.Helper()
	service, err := stdlib.NewNotifications(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.notifications, s.stopNotifications = startUntil(t, service)
	testenv.Eventually(t, patience, "the consumer to run", func() bool { return s.consumer(t).State == "running" })
}

type consumerHealth struct {
	State      string
	Connected  bool
	Applied    int
	Duplicates int
	SetAside   int
}

func (s *stack) consumer(t *testing.T) consumerHealth {
	t.Helper()
	_, body := ask(t, http.MethodGet, s.notifications+"/health/ready", "")
	return decode[struct{ Consumer consumerHealth }](t, body).Consumer
}

// order places an order and returns its ids.
func (s *stack) order(t *testing.T, headers ...string) placed {
	t.Helper()
	res, body := exchange(t, http.MethodPost, s.orders+"/orders", `{"customerId":"customer-123","amount":77.5}`, headers...)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("POST /orders: %d %s", res.StatusCode, body)
	}
	return decode[placed](t, body)
}

type notification struct {
	ID, OrderID, EventID, CustomerID, CorrelationID, CreatedAt string
	Amount                                                     float64
}

func (s *stack) notificationsOf(t *testing.T, orderID string) []notification {
	t.Helper()
	status, body := ask(t, http.MethodGet, s.notifications+"/notifications?orderId="+orderID, "")
	if status != http.StatusOK {
		t.Fatalf("GET /notifications: %d %s", status, body)
	}
	return decode[[]notification](t, body)
}

func (s *stack) awaitNotification(t *testing.T, orderID string) notification {
	t.Helper()
	var list []notification
	testenv.Eventually(t, patience, "the notification", func() bool {
		list = s.notificationsOf(t, orderID)
		return len(list) > 0
	})
	return list[0]
}

// outboxRow returns the message as the outbox has it.
func (s *stack) outboxRow(t *testing.T, eventID string) outbox.Record {
	t.Helper()
	ob, err := outbox.New(s.ordersDB)
	if err != nil {
		t.Fatal(err)
	}
	page, err := ob.List(t.Context(), outbox.ListQuery{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(page.Records, func(r outbox.Record) bool { return r.ID.String() == eventID })
	if i < 0 {
		t.Fatalf("no outbox row %s", eventID)
	}
	return page.Records[i]
}

// deliverAgain publishes further copies of a message.
func (s *stack) deliverAgain(t *testing.T, msg outbox.Message, copies int) {
	t.Helper()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: s.amqpURL, Exchange: s.exchange, Producer: "again", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sent := 0
	testenv.Eventually(t, patience, "the copies to be published", func() bool {
		for sent < copies && publisher.Publish(ctx, []outbox.Message{msg})[0] == nil {
			sent++
		}
		return sent == copies
	})
}

// tap returns a function that waits for the next message to go through the
// exchange from now on.
func (s *stack) tap(t *testing.T) (next func() amqp.Delivery) {
	t.Helper()
	conn, err := amqp.Dial(s.amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "#", s.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() amqp.Delivery {
		t.Helper()
		select {
		case d, open := <-deliveries:
			if !open {
				t.Fatal("the connection of the tap is lost")
			}
			return d
		case <-time.After(patience):
			t.Fatalf("nothing went through the exchange in %v", patience)
		}
		panic("unreachable")
	}
}
