package spans_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// journey is the tree that one order leaves behind: client and server of the request,
// the message that was created, two attempts at it that failed, and a replay of the
// dead letter.
const journey = `1 POST /orders (client)
  2 POST /orders (server)
    3 create order.created (producer)
        messaging.destination.name=order.created
        messaging.message.conversation_id=CORRELATION
        messaging.message.id=EVENT
        messaging.operation.name=create
        messaging.operation.type=create
        messaging.rabbitmq.destination.routing_key=order.created
        messaging.system=rabbitmq
4 publish EXCHANGE (client) -> 3
    messaging.batch.message_count=1
    messaging.destination.name=EXCHANGE
    messaging.operation.name=publish
    messaging.operation.type=send
    messaging.system=rabbitmq
    pulse.outbox.publish.refused=0
    pulse.outbox.publish.returned=0
    pulse.outbox.publish.unknown=0
    server.address=HOST
    server.port=PORT
5 process QUEUE (consumer) -> 3 FAILED
    error.type=FAILURE
    messaging.consumer.group.name=notifications
    messaging.destination.name=QUEUE
    messaging.message.conversation_id=CORRELATION
    messaging.message.id=EVENT
    messaging.operation.name=process
    messaging.operation.type=process
    messaging.rabbitmq.destination.routing_key=order.created
    messaging.system=rabbitmq
    pulse.inbox.attempt=1
    pulse.inbox.outcome=retry
    server.address=HOST
    server.port=PORT
  6 settle QUEUE (client)
      messaging.batch.message_count=1
      messaging.consumer.group.name=notifications
      messaging.destination.name=QUEUE
      messaging.operation.name=settle
      messaging.operation.type=settle
      messaging.system=rabbitmq
      pulse.inbox.settle.retried=1
      server.address=HOST
      server.port=PORT
7 process QUEUE (consumer) -> 3 FAILED
    error.type=FAILURE
    messaging.consumer.group.name=notifications
    messaging.destination.name=QUEUE
    messaging.message.conversation_id=CORRELATION
    messaging.message.id=EVENT
    messaging.operation.name=process
    messaging.operation.type=process
    messaging.rabbitmq.destination.routing_key=order.created
    messaging.system=rabbitmq
    pulse.inbox.attempt=2
    pulse.inbox.outcome=dead_letter
    server.address=HOST
    server.port=PORT
  8 settle QUEUE (client)
      messaging.batch.message_count=1
      messaging.consumer.group.name=notifications
      messaging.destination.name=QUEUE
      messaging.operation.name=settle
      messaging.operation.type=settle
      messaging.system=rabbitmq
      pulse.inbox.settle.dead_lettered=1
      server.address=HOST
      server.port=PORT
9 process QUEUE (consumer) -> 3
    messaging.consumer.group.name=notifications
    messaging.destination.name=QUEUE
    messaging.message.conversation_id=CORRELATION
    messaging.message.id=EVENT
    messaging.operation.name=process
    messaging.operation.type=process
    messaging.rabbitmq.destination.routing_key=order.created
    messaging.system=rabbitmq
    pulse.inbox.attempt=1
    pulse.inbox.outcome=applied
    server.address=HOST
    server.port=PORT
  10 settle QUEUE (client)
      messaging.batch.message_count=1
      messaging.consumer.group.name=notifications
      messaging.destination.name=QUEUE
      messaging.operation.name=settle
      messaging.operation.type=settle
      messaging.system=rabbitmq
      pulse.inbox.settle.acked=1
      server.address=HOST
      server.port=PORT
`

// TestJourney follows one order through both services, which trace because the
// program has set the global provider.
func TestJourney(t *testing.T) {
	r := newRecorder()
	otel.SetTracerProvider(r)
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	for _, on := range []struct {
		name     string
		database func(testing.TB) string
		broker   func(testing.TB) string
		// refuse makes the database refuse notifications.
		refuse, allow []string
		failure       string // error.type
	}{
		{"SQLite and the dev broker",
			func(t testing.TB) string { return sqlite.URL(filepath.Join(t.TempDir(), "service.db")) },
			func(t testing.TB) string { return devbroker.NewTest(t).URL() },
			[]string{`CREATE TRIGGER refuse BEFORE INSERT ON notifications BEGIN SELECT RAISE (ABORT, 'refused'); END`},
			[]string{`DROP TRIGGER refuse`}, "*sqlite3.Error"},
		{"PostgreSQL and RabbitMQ", testenv.Postgres, testenv.RabbitMQ,
			[]string{`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$`,
				`CREATE TRIGGER refuse BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION refuse()`},
			[]string{`DROP TRIGGER refuse ON notifications`}, "P0001"},
	} {
		t.Run(on.name, func(t *testing.T) {
			defer r.exporter.Reset()
			s := startServices(t, on.database(t), on.database(t), on.broker(t))
			execute(t, s.notificationsDB, on.refuse...)
			r.exporter.Reset()
			order := s.order(t, r)
			s.await(t, "the dead letter", func() bool { return len(r.named("settle "+s.queue)) == 2 })
			execute(t, s.notificationsDB, on.allow...)
			s.replay(t, order.EventID)
			s.await(t, "the replay", func() bool { return len(r.named("settle "+s.queue)) == 3 })
			s.stop()

			broker, err := url.Parse(s.broker)
			if err != nil {
				t.Fatal(err)
			}
			got := r.tree(order.EventID, "EVENT", order.CorrelationID, "CORRELATION", s.exchange, "EXCHANGE", s.queue, "QUEUE",
				"server.address="+broker.Hostname(), "server.address=HOST", "server.port="+broker.Port(), "server.port=PORT")
			if want := strings.ReplaceAll(journey, "FAILURE", on.failure); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			// What the tree leads to at both ends: the order's row, and the notification.
			created := r.named("create order.created")[0]
			if headers := s.row(t, order.EventID).Headers; headers["traceparent"] != traceparent(created.SpanContext) {
				t.Errorf("the row carries %q, not its create span", headers["traceparent"])
			}
			var effect struct {
				EventID       string `db:"event_id"`
				CorrelationID string `db:"correlation_id"`
			}
			if err := s.notificationsDB.Get(&effect, `SELECT CAST(event_id AS text) AS event_id, correlation_id FROM notifications`); err != nil {
				t.Fatal(err)
			}
			if effect.EventID != order.EventID || effect.CorrelationID != order.CorrelationID {
				t.Errorf("notification %+v of order %+v", effect, order)
			}
		})
	}
}

// services are both example services and what they share.
type services struct {
	ordersDB, notificationsDB *sqlx.DB
	broker, exchange, queue   string
	ordersURL                 string
	stop                      func()
}

func startServices(t *testing.T, ordersDB, notificationsDB, broker string) *services {
	t.Helper()
	s := &services{
		broker: broker, exchange: testenv.UniqueName(t, "pulse.events"), queue: testenv.UniqueName(t, "order.created"),
		ordersDB: open(t, ordersDB), notificationsDB: open(t, notificationsDB),
	}
	settings := stdlib.Settings{
		AMQPURL: s.broker, Exchange: s.exchange, AutoMigrate: true, StartTimeout: patience, DatabaseTimeout: patience,
		Logger: slog.New(slog.DiscardHandler),
	}
	settings.DatabaseURL = notificationsDB
	notifications, err := stdlib.NewNotifications(stdlib.NotificationsConfig{
		Settings: settings, Queue: s.queue, RetryDelays: []time.Duration{100 * time.Millisecond},
		Consumer: inbox.ConsumerConfig{MaxAttempts: 2, Backoff: func(int) time.Duration { return time.Millisecond }},
	})
	if err != nil {
		t.Fatal(err)
	}
	settings.DatabaseURL = ordersDB
	orders, err := stdlib.NewOrders(stdlib.OrdersConfig{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	// The consumer first, so that there is a queue before anything is published.
	_, stopNotifications := run(t, notifications)
	ordersURL, stopOrders := run(t, orders)
	s.ordersURL = ordersURL
	s.stop = func() { stopOrders(); stopNotifications() }
	return s
}

func open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// run runs a service until stop is called, or the test ends.
func run(t *testing.T, service interface {
	Run(context.Context, net.Listener) error
}) (url string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	url = "http://" + ln.Addr().String()
	testenv.Eventually(t, patience, "the service to be ready", func() bool {
		status, body := do(t, http.MethodGet, url+"/health/ready", nil)
		var health struct{ Consumer struct{ State string } }
		return status == http.StatusOK && json.Unmarshal(body, &health) == nil && (health.Consumer.State == "" || health.Consumer.State == "running")
	})
	return url, stop
}

// do sends a request over a connection of its own.
func do(t *testing.T, method, url string, header http.Header) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if method == http.MethodPost {
		req, err = http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(`{"customerId":"customer-123","amount":77.5}`))
	}
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

type placed struct{ OrderID, EventID, CorrelationID string }

// order places an order within a span of the client.
func (s *services) order(t *testing.T, r *recorder) (p placed) {
	t.Helper()
	ctx, span := r.Tracer("client").Start(t.Context(), "POST /orders", clientKind)
	defer span.End()
	header := http.Header{"Content-Type": {"application/json"}}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	status, body := do(t, http.MethodPost, s.ordersURL+"/orders", header)
	if status != http.StatusCreated || json.Unmarshal(body, &p) != nil {
		t.Fatalf("POST /orders: %d %s", status, body)
	}
	return p
}

func (s *services) row(t *testing.T, eventID string) outbox.Record {
	t.Helper()
	ob, err := outbox.New(s.ordersDB)
	if err != nil {
		t.Fatal(err)
	}
	page, err := ob.List(t.Context(), outbox.ListQuery{})
	if err != nil || len(page.Records) != 1 || page.Records[0].ID.String() != eventID {
		t.Fatalf("%+v, %v; want the row of %s", page.Records, err, eventID)
	}
	return page.Records[0]
}

// replay publishes the message of the row again, as pulsectl replay does.
func (s *services) replay(t *testing.T, eventID string) {
	t.Helper()
	msg := s.row(t, eventID).Message
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: s.broker, Exchange: s.exchange, Producer: "orders", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	s.await(t, "the replay to be published", func() bool { return publisher.Publish(t.Context(), []outbox.Message{msg})[0] == nil })
}

func (s *services) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	testenv.Eventually(t, patience, what, cond)
}

func execute(t *testing.T, db *sqlx.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", statement, err))
		}
	}
}
