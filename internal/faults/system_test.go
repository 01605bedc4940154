package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

func TestMain(m *testing.M) {
	runChild()
	flag.Parse()
	if *longToo {
		patience *= 5
	}
	goleak.VerifyTestMain(m)
}

// patience limits every wait of a test. Those with -long wait for clusters.
var patience = 60 * time.Second

// nobody is a broker's address without a listener.
const nobody = "amqp://guest:guest@127.0.0.1:1/"

// leaseTTL is how long other relays wait before they take over from a dead one.
const leaseTTL = time.Second

// system holds what the services of one test share: two databases and a broker.
type system struct {
	t                           *testing.T
	ordersURL, notificationsURL string // of the databases
	ordersDB, notificationsDB   *sqlx.DB
	outbox                      *outbox.Outbox
	amqpURL, exchange, queue    string
	counter                     http.Handler // accepts orders, without a relay
	running                     []*service
}

// newSystem creates the databases with their schemas. It starts no service and
// does not connect to the broker.
func newSystem(t *testing.T, amqpURL string) *system {
	t.Helper()
	return newSystemOn(t, testenv.Postgres(t), testenv.Postgres(t), amqpURL)
}

func newSystemOn(t *testing.T, ordersURL, notificationsURL, amqpURL string) *system {
	t.Helper()
	s := &system{
		t: t, ordersURL: ordersURL, notificationsURL: notificationsURL,
		amqpURL: amqpURL, exchange: testenv.UniqueName(t, "pulse.events"), queue: testenv.UniqueName(t, "order.created"),
	}
	s.ordersDB, s.notificationsDB = openDB(t, s.ordersURL), openDB(t, s.notificationsURL)
	s.migrate()
	cfg := s.ordersConfig()
	cfg.AMQPURL, cfg.Logger = nobody, slog.New(slog.DiscardHandler)
	counter, err := stdlib.NewOrders(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := counter.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s.counter = counter.Handler()
	return s
}

func openDB(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: url, Name: "test", MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (s *system) migrate() {
	s.t.Helper()
	var err error
	if s.outbox, err = outbox.New(s.ordersDB); err != nil {
		s.t.Fatal(err)
	}
	in, err := inbox.New(s.notificationsDB, consumerName)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := s.t.Context()
	_, err1 := orders.Schema(outbox.PostgreSQL).Up(ctx, s.ordersDB)
	_, err2 := s.outbox.Migrate(ctx)
	_, err3 := notifications.Schema(outbox.PostgreSQL).Up(ctx, s.notificationsDB)
	_, err4 := in.Migrate(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		s.t.Fatal(err)
	}
	// Every attempt that is counted is recorded, so that a test can check "none
	// during the whole time" instead of "none now".
	s.exec(s.ordersDB, `
		CREATE TABLE counted_attempts (n serial, event_id uuid, attempts int, status text, error text);
		CREATE FUNCTION note_attempt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO counted_attempts (event_id, attempts, status, error) VALUES (NEW.id, NEW.attempts, NEW.status, NEW.last_error);
			RETURN NULL;
		END $$;
		CREATE TRIGGER note_attempt AFTER UPDATE ON outbox_messages FOR EACH ROW
			WHEN (NEW.attempts > OLD.attempts) EXECUTE FUNCTION note_attempt()`)
}

const consumerName = "notifications"

func (s *system) settings(databaseURL string) stdlib.Settings {
	return stdlib.Settings{
		DatabaseURL: databaseURL, AMQPURL: s.amqpURL, Exchange: s.exchange, Logger: logger(s.t),
		DatabaseTimeout: patience / 2, // the machine may be busy, and transactions are kept open
	}
}

// logger writes warnings and errors to the test's log.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (s *system) ordersConfig() stdlib.OrdersConfig {
	return stdlib.OrdersConfig{Settings: s.settings(s.ordersURL), Relay: relayConfig()}
}

// relayConfig is the configuration of all relays here: without retention, and
// with short leases and retries.
func relayConfig() outbox.RelayConfig {
	return outbox.RelayConfig{
		LeaseTTL: leaseTTL, Retention: outbox.KeepForever, SweepInterval: 500 * time.Millisecond,
		Backoff: func(int) time.Duration { return 200 * time.Millisecond },
	}
}

func (s *system) notificationsConfig() stdlib.NotificationsConfig {
	return stdlib.NotificationsConfig{
		Settings: s.settings(s.notificationsURL), Queue: s.queue, RetryDelays: retryDelays, Consumer: consumerConfig(),
	}
}

// retryDelays are the delays of the retry queues.
var retryDelays = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond}

func consumerConfig() inbox.ConsumerConfig {
	return inbox.ConsumerConfig{Retention: inbox.KeepForever, MaxAttempts: 3,
		Backoff: func(int) time.Duration { return retryDelays[0] }}
}

// service is something that runs until it is stopped.
type service struct {
	url  string // of its API, if it has one
	stop func() // returns when it has ended; may be called again
}

// startOrders runs the orders service with its relay, and returns once it is ready.
func (s *system) startOrders(change ...func(*stdlib.OrdersConfig)) *service {
	s.t.Helper()
	cfg := s.ordersConfig()
	for _, c := range change {
		c(&cfg)
	}
	orders, err := stdlib.NewOrders(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(orders.Run)
}

// startNotifications runs the notifications service, and returns once it
// consumes.
func (s *system) startNotifications(change ...func(*stdlib.NotificationsConfig)) *service {
	s.t.Helper()
	cfg := s.notificationsConfig()
	for _, c := range change {
		c(&cfg)
	}
	notifications, err := stdlib.NewNotifications(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	svc := s.start(notifications.Run)
	testenv.Eventually(s.t, patience, "the consumer to run", func() bool { return svc.health(s.t).Consumer.State == "running" })
	return svc
}

func (s *system) start(run func(context.Context, net.Listener) error) *service {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	svc := s.background(func(ctx context.Context) error { return run(ctx, ln) })
	svc.url = "http://" + ln.Addr().String()
	testenv.Eventually(s.t, patience, "the service to be ready", func() bool { return svc.health(s.t).Status == "ready" })
	return svc
}

// background runs anything that ends with its context.
func (s *system) background(run func(context.Context) error) *service {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	svc := &service{stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})}
	s.t.Cleanup(svc.stop)
	s.running = append(s.running, svc)
	return svc
}

// stopAll stops every service of the system.
func (s *system) stopAll() {
	for _, svc := range s.running {
		svc.stop()
	}
	s.running = nil
}

// health is the part of /health/ready that tests check.
type health struct {
	Status   string
	Database struct{ Status, Message string }
	Relay    struct {
		State     string
		Connected bool
		LastError string
		Published int
		Suspended []struct {
			Topic   string
			Waiting int
		}
	}
	Consumer struct {
		State, LastError                           string
		Applied, Duplicates, Retried, DeadLettered int
	}
}

func (svc *service) health(t *testing.T) (h health) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(svc.url + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil {
		t.Fatal(err)
	}
	return h
}

func (s *system) exec(db *sqlx.DB, statement string, args ...any) {
	s.t.Helper()
	if _, err := db.ExecContext(s.t.Context(), statement, args...); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

func (s *system) count(db *sqlx.DB, from string, args ...any) (n int) {
	s.t.Helper()
	if err := db.GetContext(s.t.Context(), &n, "SELECT count(*) FROM "+from, args...); err != nil {
		s.t.Fatalf("%s: %v", from, err)
	}
	return n
}

// awaitCount waits until there are at least n such rows.
func (s *system) awaitCount(n int, db *sqlx.DB, from string, args ...any) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, fmt.Sprintf("%d of %s", n, from), func() bool { return s.count(db, from, args...) >= n })
}

// awaitApplied waits until n more messages have been applied.
func (s *system) awaitApplied(n int) {
	s.t.Helper()
	s.awaitCount(s.count(s.notificationsDB, "notifications")+n, s.notificationsDB, "notifications")
}

// record returns the row of an event.
func (s *system) record(eventID string) outbox.Record {
	s.t.Helper()
	r, err := s.outbox.Get(s.t.Context(), uuidOf(s.t, eventID))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// attempt is a recorded attempt.
type attempt struct {
	EventID  string `db:"event_id"`
	Attempts int
	Status   string
	Error    string
}

// attempts returns every attempt that was ever counted, oldest first.
func (s *system) attempts() (all []attempt) {
	s.t.Helper()
	err := s.ordersDB.SelectContext(s.t.Context(), &all, `SELECT event_id, attempts, status, error FROM counted_attempts ORDER BY n`)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// requireNoAttempts fails the test if any attempt was ever counted.
func (s *system) requireNoAttempts() {
	s.t.Helper()
	if all := s.attempts(); len(all) > 0 {
		s.t.Errorf("%d attempts were counted, the first is %+v; want none", len(all), all[0])
	}
}
