package exampletest

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// system is both services of a stack on one platform.
type system struct {
	stack                     Stack
	orders, notifications     string // URLs
	ordersDB, notificationsDB *sqlx.DB
	logs, notificationsLogs   *Journal
	amqpURL, exchange, queue  string
	settings                  service.Settings // of notifications
	stopNotifications         func()
}

// start starts the consumer first, so that the queue exists before anything
// is published.
func (k Stack) start(t *testing.T, on Platform) *system {
	t.Helper()
	s := &system{
		stack:    k,
		amqpURL:  on.Broker(t),
		exchange: testenv.UniqueName(t, "pulse.events"),
		queue:    testenv.UniqueName(t, "order.created"),
	}
	s.settings, s.notificationsLogs = Settings(t, on)
	s.settings.AMQPURL, s.settings.Exchange = s.amqpURL, s.exchange
	k.guard(t, &s.settings)
	s.startNotifications(t)

	var settings service.Settings
	settings, s.logs = Settings(t, on)
	settings.AMQPURL, settings.Exchange = s.amqpURL, s.exchange
	k.guard(t, &settings)
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	s.orders = Start(t, orders)
	s.ordersDB, s.notificationsDB = Open(t, settings.DatabaseURL), Open(t, s.settings.DatabaseURL)
	return s
}

func (s *system) target() acceptance.Target {
	return acceptance.Target{OrdersURL: s.orders, NotificationsURL: s.notifications, AMQPURL: s.amqpURL, Exchange: s.exchange, Patience: Patience}
}

func (s *system) startNotifications(t *testing.T) {
	t.Helper()
	notifications, err := s.stack.Notifications(s.settings, s.queue)
	if err != nil {
		t.Fatal(err)
	}
	s.notifications, s.stopNotifications = StartUntil(t, notifications)
	testenv.Eventually(t, Patience, "the consumer to run", func() bool { return s.consumer(t).State == "running" })
}

type consumerHealth struct {
	State        string
	Connected    bool
	Applied      int
	Duplicates   int
	Retried      int
	DeadLettered int
}

func (s *system) consumer(t *testing.T) consumerHealth {
	t.Helper()
	_, body := Ask(t, http.MethodGet, s.notifications+"/health/ready", "")
	return Decode[struct{ Consumer consumerHealth }](t, body).Consumer
}

// order places an order and returns its ids.
func (s *system) order(t *testing.T, headers ...string) Placed {
	t.Helper()
	res, body := Exchange(t, http.MethodPost, s.orders+"/orders", `{"customerId":"customer-123","amount":77.5}`, headers...)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("POST /orders: %d %s", res.StatusCode, body)
	}
	return Decode[Placed](t, body)
}

type notification struct {
	ID, OrderID, EventID, CustomerID, CorrelationID, CreatedAt string
	Amount                                                     float64
}

func (s *system) notificationsOf(t *testing.T, orderID string) []notification {
	t.Helper()
	status, body := Ask(t, http.MethodGet, s.notifications+"/notifications?orderId="+orderID, "")
	if status != http.StatusOK {
		t.Fatalf("GET /notifications: %d %s", status, body)
	}
	return Decode[[]notification](t, body)
}

func (s *system) awaitNotification(t *testing.T, orderID string) notification {
	t.Helper()
	var list []notification
	testenv.Eventually(t, Patience, "the notification", func() bool {
		list = s.notificationsOf(t, orderID)
		return len(list) > 0
	})
	return list[0]
}

// outboxRow returns the message as the outbox has it.
func (s *system) outboxRow(t *testing.T, eventID string) outbox.Record {
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
func (s *system) deliverAgain(t *testing.T, msg outbox.Message, copies int) {
	t.Helper()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: s.amqpURL, Exchange: s.exchange, Producer: "again", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	sent := 0
	testenv.Eventually(t, Patience, "the copies to be published", func() bool {
		for sent < copies && publisher.Publish(ctx, []outbox.Message{msg})[0] == nil {
			sent++
		}
		return sent == copies
	})
}

// openChannel returns a channel of a connection that ends with the test.
func openChannel(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// tap returns a function that waits for the next message to go through the
// exchange from now on.
func (s *system) tap(t *testing.T) (next func() amqp.Delivery) {
	t.Helper()
	ch := openChannel(t, s.amqpURL)
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
		case <-time.After(Patience):
			t.Fatalf("nothing went through the exchange in %v", Patience)
		}
		panic("unreachable")
	}
}
