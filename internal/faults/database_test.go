package faults_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F11: the database server of both services is stopped immediately, twice,
// under load, while the relay drains and the consumer commits.
func TestF11DatabaseRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	run(t, server.URL(), `CREATE DATABASE notifications`)
	address.Path = "/notifications"
	s := newSystemOn(t, server.URL(), address.String(), testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	orders := s.startOrders()
	s.place(200)
	load := startFailingLoad(t, orders.url, 2)
	for round := range 2 {
		load.await(20)
		server.StopImmediate()
		load.awaitFailures(20 * (round + 1))
		if h := orders.health(t); h.Status != "unready" {
			t.Errorf("health of orders without a database: %+v", h)
		}
		server.Start()
	}
	load.await(20)
	answered := load.end()
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireOrders(answered)
	if h := consumer.health(t).Consumer; h.Retried != 0 || h.DeadLettered != 0 {
		t.Errorf("messages counted an attempt for the outage: %+v", h)
	}
	s.requireClean(exceptions{})
}

func run(t *testing.T, database string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// F21: the services' clock and the database's are an hour apart, in either
// direction. Leases, delays, retries and retention follow the database's.
func TestF21ClocksAnHourApart(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]string{"services behind": "1 hour", "services ahead": "-1 hour"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ordersURL, notificationsURL := testenv.Postgres(t), testenv.Postgres(t)
			skew(t, ordersURL, offset)
			skew(t, notificationsURL, offset)
			s := newSystemOn(t, ordersURL, notificationsURL, testenv.RabbitMQ(t))
			var now time.Time
			if err := s.ordersDB.GetContext(t.Context(), &now, `SELECT clock_timestamp()`); err != nil {
				t.Fatal(err)
			}
			if apart := time.Until(now).Abs(); apart < 50*time.Minute {
				t.Fatalf("the clocks are %v apart", apart)
			}
			const retention = 30 * time.Minute // less than the clocks are apart
			s.startNotifications(func(c *stdlib.NotificationsConfig) {
				c.Consumer.Retention, c.Consumer.PurgeInterval = retention, 50*time.Millisecond
			})
			relay := func(c *stdlib.OrdersConfig) {
				c.Relay.Retention, c.Relay.PurgeInterval = retention, 50*time.Millisecond
			}
			tap := s.startTap()
			dying := s.startChild(assignment{Role: roleRelay, Point: beforePublish})
			orders := s.place(20)
			dying.await(string(beforePublish))
			both := []*service{s.startOrders(relay), s.startOrders(relay)}
			// For longer than a lease lasts no relay takes the leases of a live
			// one.
			var met time.Time
			if err := s.ordersDB.GetContext(t.Context(), &met, `SELECT max(expires_at) FROM outbox_relays`); err != nil {
				t.Fatal(err)
			}
			s.awaitCount(3, s.ordersDB, `outbox_relays WHERE expires_at > $1`, met.Add(leaseTTL))
			if n := s.count(s.ordersDB, `outbox_leases WHERE owner <> 'child'`); n != 0 {
				t.Errorf("%d leases were taken from a relay that lives", n)
			}
			dying.kill()
			tap.requireCopies(orders, func(string) int { return 1 })

			delayed := outbox.NewMessage(otherTopic, nil)
			if err := s.ordersDB.GetContext(t.Context(), &delayed.AvailableAt, `SELECT clock_timestamp() + interval '300 ms'`); err != nil {
				t.Fatal(err)
			}
			s.enqueue(delayed)
			s.awaitCount(1, s.ordersDB, `outbox_messages WHERE id = $1 AND published_at >= available_at`, delayed.ID)
			for _, svc := range both {
				if h := svc.health(t).Relay; h.State != "running" {
					t.Errorf("relay %+v", h)
				}
			}
			s.requireNoAttempts()
			s.requireClean(exceptions{}) // rows and inbox rows are complete
		})
	}
}

// skew makes a database's clock differ from the services': all time functions
// are shadowed. It has to run before the tables are created.
func skew(t *testing.T, database, offset string) {
	t.Helper()
	var statements []string
	for _, clock := range []string{"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp"} {
		statements = append(statements, `CREATE FUNCTION public.`+clock+`() RETURNS timestamptz LANGUAGE sql STABLE
			AS $$ SELECT pg_catalog.`+clock+`() + interval '`+offset+`' $$`)
	}
	name, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	run(t, database, append(statements,
		`ALTER DATABASE `+pgx.Identifier{name.Path[1:]}.Sanitize()+` SET search_path = public, pg_catalog`)...)
}
