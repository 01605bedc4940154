package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

// forLibPQ is the setting of PgBouncer that lib/pq needs: it always sends this
// parameter.
const forLibPQ = "ignore_startup_parameters = extra_float_digits"

// F73: between the libraries and PostgreSQL is a PgBouncer in transaction mode,
// so that each transaction may get another session. With the settings in the
// documentation everything works with each driver.
func TestF73PoolerLibraries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		driver   string
		settings []string // of PgBouncer
		params   url.Values
	}{
		"pgx": {"pgx", nil, url.Values{"default_query_exec_mode": {"exec"}}},
		"lib pq": {"postgres", []string{forLibPQ},
			url.Values{"binary_parameters": {"yes"}, "sslmode": {"disable"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := testenv.Postgres(t)
			db := openPooled(t, c.driver, testenv.PgBouncer(t, direct, c.settings...), c.params)
			ob, err := outbox.New(db)
			if err != nil {
				t.Fatal(err)
			}
			in, err := inbox.New(db, consumerName)
			if err != nil {
				t.Fatal(err)
			}
			migrateAtOnce(t, ob.Migrate)
			migrateAtOnce(t, in.Migrate)
			db.MustExec(`CREATE TABLE effects (event_id text NOT NULL)`)

			recorder, queue := new(outboxtest.Recorder), inboxtest.NewQueue()
			relay, err := outbox.NewRelay(ob, recorder, outbox.RelayConfig{Logger: logger(t), LeaseTTL: leaseTTL, SweepInterval: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			consumer, err := inbox.NewConsumer(in, queue, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id) VALUES ($1)`, msg.ID)
				return err
			}, inbox.ConsumerConfig{Logger: logger(t), MaxAttempts: 1, BatchSize: 10})
			if err != nil {
				t.Fatal(err)
			}
			inBackground(t, relay.Run, consumer.Run)

			const producers, each = 8, 25
			var wg sync.WaitGroup
			for p := range producers {
				wg.Go(func() {
					for i := range each {
						if err := enqueueOne(t, db, ob, fmt.Sprintf("key-%d", p), i); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			recorder.WaitFor(t, producers*each)
			for _, m := range recorder.Published() {
				msg := inbox.Message{ID: m.ID.String(), Topic: m.Topic, Key: m.Key, Payload: m.Payload}
				queue.Publish(msg, msg)
			}
			queue.WaitUntilEmpty(t)
			inboxtest.RequireCount(t, db, producers*each, `SELECT count(DISTINCT event_id) FROM effects`)
			inboxtest.RequireCount(t, db, producers*each, `SELECT count(*) FROM effects`)
			if dead := queue.DeadLetters(); len(dead) > 0 {
				t.Errorf("%d dead letters, as %v", len(dead), dead[0].Err)
			}
			if n, err := count(db, `SELECT coalesce(sum(attempts), 0) FROM outbox_messages`); n != 0 || err != nil {
				t.Errorf("%d attempts were counted, %v", n, err)
			}
			if h := relay.Health(); h.State != outbox.RelayRunning {
				t.Errorf("relay: %+v", h)
			}
			if h := consumer.Health(); h.State != inbox.Running {
				t.Errorf("consumer: %+v", h)
			}
			lookAtAll(t, ob, in)
		})
	}
}

// openPooled opens a service's own handle, without this project's packages.
func openPooled(t *testing.T, driver, address string, params url.Values) *sqlx.DB {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if params != nil {
		u.RawQuery = params.Encode()
	}
	db, err := sqlx.Open(driver, u.String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(12)
	t.Cleanup(func() { db.Close() })
	return db
}

// migrateAtOnce runs migrations concurrently, like several processes that start
// together.
func migrateAtOnce[M any](t *testing.T, migrations ...func(context.Context) ([]M, error)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, migrate := range migrations {
		for range 3 {
			wg.Go(func() {
				if _, err := migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// inBackground runs functions that end with their context, until the test ends.
func inBackground(t *testing.T, runs ...func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func enqueueOne(t *testing.T, db *sqlx.DB, ob *outbox.Outbox, key string, i int) error {
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	msg := outbox.NewMessage("order.created", fmt.Appendf(nil, `{"n": %d}`, i))
	msg.Key = key
	if err := ob.Enqueue(t.Context(), tx, msg); err != nil {
		return err
	}
	return tx.Commit()
}

func count(db *sqlx.DB, query string, args ...any) (n int, err error) {
	err = db.Get(&n, query, args...)
	return n, err
}

// lookAtAll calls what tools and operators call.
func lookAtAll(t *testing.T, ob *outbox.Outbox, in *inbox.Inbox) {
	t.Helper()
	ctx := t.Context()
	page, err := ob.List(ctx, outbox.ListQuery{Topic: "order.created", Key: "key-1"})
	if err != nil || len(page.Records) == 0 {
		t.Fatalf("list: %+v, %v", page, err)
	}
	id := page.Records[0].ID
	for what, ask := range map[string]func() error{
		"get":           func() error { _, err := ob.Get(ctx, id); return err },
		"count":         func() error { _, _, err := ob.Count(ctx, outbox.ListQuery{Key: "key-1"}, 10); return err },
		"stats":         func() error { _, err := ob.Stats(ctx); return err },
		"relays":        func() error { _, err := ob.Relays(ctx); return err },
		"retry":         func() error { return refused(ob.Retry(ctx, id)) },
		"discard":       func() error { return refused(ob.Discard(ctx, "why", id)) },
		"purge":         func() error { _, err := ob.Purge(ctx, time.Hour); return err },
		"schema":        func() error { return ob.CheckSchema(ctx) },
		"ready":         func() error { return ob.CheckReady(ctx) },
		"inbox ready":   func() error { return in.CheckReady(ctx) },
		"migrations":    func() error { _, err := ob.Migrations(ctx); return err },
		"inbox get":     func() error { _, err := in.Get(ctx, id.String()); return err },
		"inbox list":    func() error { _, err := in.List(ctx, inbox.ListQuery{}); return err },
		"inbox stats":   func() error { _, err := in.Stats(ctx); return err },
		"inbox purge":   func() error { _, err := in.Purge(ctx, time.Hour); return err },
		"inbox schema":  func() error { return in.CheckSchema(ctx) },
		"inbox history": func() error { _, err := in.Migrations(ctx); return err },
		"once": func() error {
			outcome, err := in.Once(ctx, inbox.Message{ID: id.String(), Topic: "order.created", Payload: page.Records[0].Payload},
				func(context.Context, inbox.Tx) error { return errors.New("applied again") })
			if err == nil && outcome != inbox.Duplicate {
				err = fmt.Errorf("outcome %s", outcome)
			}
			return err
		},
	} {
		for range 10 { // sessions that do not know the statement yet, and sessions that do
			if err := ask(); err != nil {
				t.Errorf("%s: %v", what, err)
				break
			}
		}
	}
}

// refused expects the error for changing a published message.
func refused(_ int, err error) error {
	if err != nil && strings.Contains(err.Error(), "is published") {
		return nil
	}
	return fmt.Errorf("a published message was changed: %w", err)
}

// F73: with a driver's defaults a pooler cannot work. The error says that there
// is a pooler and names the setting, and no attempt is counted.
func TestF73PoolerErrorNamesSetting(t *testing.T) {
	t.Parallel()
	direct := testenv.Postgres(t)
	setUp := openPooled(t, "pgx", direct, nil)
	ob, err := outbox.New(setUp)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(setUp, consumerName)
	if err != nil {
		t.Fatal(err)
	}
	migrateAtOnce(t, ob.Migrate)
	migrateAtOnce(t, in.Migrate)
	for name, db := range map[string]*sqlx.DB{
		"pgx with its cache":    openPooled(t, "pgx", testenv.PgBouncer(t, direct), nil),
		"lib pq not configured": openPooled(t, "postgres", testenv.PgBouncer(t, direct), url.Values{"sslmode": {"disable"}}),
		"lib pq by its default": openPooled(t, "postgres", testenv.PgBouncer(t, direct, forLibPQ), url.Values{"sslmode": {"disable"}}),
	} {
		ob, err := outbox.New(db)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var failures []error
		attempt := func(do func() error) {
			if err := do(); err != nil {
				mu.Lock()
				failures = append(failures, err)
				mu.Unlock()
			}
		}
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for i := range 20 {
					if name != "lib pq not configured" { // the service's own BEGIN fails
						attempt(func() error { return enqueueOne(t, db, ob, "k", i) })
					}
					attempt(func() error { _, err := ob.Stats(t.Context()); return err })
					attempt(func() error { _, err := ob.Migrate(t.Context()); return err })
					attempt(func() error { return ob.CheckReady(t.Context()) })
				}
			})
		}
		wg.Wait()
		if len(failures) == 0 && name != "lib pq by its default" {
			t.Errorf("%s: nothing failed; is it a pooler?", name)
		}
		for _, err := range failures {
			if !strings.Contains(err.Error(), "default_query_exec_mode=exec") || !strings.Contains(err.Error(), "ignore_startup_parameters") {
				t.Errorf("%s: an error does not name the settings: %v", name, err)
				break
			}
		}
	}
}

// F73: the example services need no setting, because they recognise the pooler.
func TestF73PoolerServices(t *testing.T) {
	t.Parallel()
	ordersURL, notificationsURL := testenv.Postgres(t), testenv.Postgres(t)
	s := newSystemOn(t, ordersURL, notificationsURL, testenv.RabbitMQ(t))
	through := func(url string) func(*stdlib.Settings) {
		pooled := testenv.PgBouncer(t, url)
		return func(c *stdlib.Settings) { c.DatabaseURL, c.AutoMigrate = pooled, true }
	}
	ordersThrough, notificationsThrough := through(ordersURL), through(notificationsURL)
	consumer := s.startNotifications(func(c *stdlib.NotificationsConfig) { notificationsThrough(&c.Settings) })
	orders := s.startOrders(func(c *stdlib.OrdersConfig) { ordersThrough(&c.Settings) })
	load := startFailingLoad(t, orders.url, 4)
	load.await(200)
	answered := load.end()
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireOrders(answered)
	if h := consumer.health(t).Consumer; h.Retried != 0 || h.DeadLettered != 0 {
		t.Errorf("messages counted an attempt for the pooler: %+v", h)
	}
	s.requireClean(exceptions{})
}
