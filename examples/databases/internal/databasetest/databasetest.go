// Package databasetest holds what the examples promise, whichever library they
// use.
package databasetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	_ "github.com/jackc/pgx/v5/stdlib" // PostgreSQL

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// Database is one of a test's own, with all tables and the customer customer-1.
type Database struct {
	*sqlx.DB
	URL    string // empty: SQLite
	Outbox *outbox.Outbox
	Inbox  *inbox.Inbox
}

// Library is what an example does with its library.
type Library struct {
	PlaceOrder func(ctx context.Context, orderID, customerID string) error
	Notify     inbox.Handler                              // nil: the library cannot
	NotifyInTx func(context.Context, inbox.Message) error // nil: the library cannot
}

// Run holds an example to its promises on PostgreSQL and on SQLite.
func Run(t *testing.T, build func(t *testing.T, db Database) Library) {
	t.Run("PostgreSQL", func(t *testing.T) { RunPostgres(t, build) })
	t.Run("SQLite", func(t *testing.T) {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "service.db"))
		if err != nil {
			t.Fatal(err)
		}
		run(t, Database{DB: db}, build)
	})
}

// RunPostgres does it on PostgreSQL alone.
func RunPostgres(t *testing.T, build func(t *testing.T, db Database) Library) {
	url := testenv.Postgres(t)
	db, err := sqlx.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	run(t, Database{DB: db, URL: url}, build)
}

func run(t *testing.T, db Database, build func(t *testing.T, db Database) Library) {
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if db.Outbox, err = outbox.New(db.DB); err != nil {
		t.Fatal(err)
	}
	if db.Inbox, err = inbox.New(db.DB, "notifications"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Outbox.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Inbox.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{databases.Schema, `INSERT INTO customers (id) VALUES ('customer-1')`} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	lib := build(t, db)
	t.Run("Commit", func(t *testing.T) { testCommit(t, db, lib) })
	t.Run("Rollback", func(t *testing.T) { testRollback(t, db, lib) })
	if lib.Notify != nil {
		t.Run("Notify", func(t *testing.T) {
			testNotify(t, db, lib, func(s inbox.Source) (*inbox.Consumer, error) {
				return inbox.NewConsumer(db.Inbox, s, lib.Notify, inbox.ConsumerConfig{})
			})
		})
	}
	if lib.NotifyInTx != nil {
		t.Run("NotifyInTx", func(t *testing.T) {
			testNotify(t, db, lib, func(s inbox.Source) (*inbox.Consumer, error) {
				return inbox.NewConsumerFunc(s, lib.NotifyInTx, inbox.ConsumerConfig{Inbox: db.Inbox})
			})
		})
	}
}

// testCommit: the order and its event are there.
func testCommit(t *testing.T, db Database, lib Library) {
	if err := lib.PlaceOrder(t.Context(), "committed", "customer-1"); err != nil {
		t.Fatal(err)
	}
	inboxtest.RequireCount(t, db.DB, 1, `SELECT count(*) FROM orders WHERE id = 'committed'`)
	outboxtest.RequireEnqueued(t, db, outboxtest.Match{Topic: "order.created", Key: "committed"})
}

// testRollback: neither is, whichever of the two failed, or the commit.
func testRollback(t *testing.T, db Database, lib Library) {
	if err := lib.PlaceOrder(t.Context(), "rolled-back", "nobody"); err == nil {
		t.Error("an order of an unknown customer was committed")
	}
	inboxtest.RequireCount(t, db.DB, 0, `SELECT count(*) FROM orders WHERE id = 'rolled-back'`)
	outboxtest.RequireNothingEnqueued(t, db, outboxtest.Match{Key: "rolled-back"})

	if err := lib.PlaceOrder(t.Context(), "committed", "customer-1"); err == nil {
		t.Error("an order was placed twice")
	}
	outboxtest.RequireEnqueued(t, db, outboxtest.Match{Key: "committed"}) // one

	tooLong := "rolled-back-" + string(make([]byte, outbox.MaxKey))
	if err := lib.PlaceOrder(t.Context(), tooLong, "customer-1"); err == nil {
		t.Error("an event with a key that is too long was enqueued")
	}
	inboxtest.RequireCount(t, db.DB, 1, `SELECT count(*) FROM orders`)
}

// testNotify: an event that comes twice is applied once, and one that cannot be
// applied leaves no trace.
func testNotify(t *testing.T, db Database, lib Library, consumer func(inbox.Source) (*inbox.Consumer, error)) {
	orderID := t.Name()
	if err := lib.PlaceOrder(t.Context(), orderID, "customer-1"); err != nil {
		t.Fatal(err)
	}
	sent := outboxtest.RequireEnqueued(t, db, outboxtest.Match{Key: orderID})
	msg := inbox.Message{ID: sent.ID.String(), Topic: sent.Topic, Type: sent.Type, Payload: sent.Payload}
	bad := inboxtest.Event(t, "", "no object")

	q := inboxtest.NewQueue()
	c, err := consumer(q)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	q.Publish(msg, bad, msg)
	q.WaitUntilEmpty(t)
	q.Publish(msg)
	q.WaitUntilEmpty(t)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	inboxtest.RequireCount(t, db.DB, 1, `SELECT count(*) FROM notifications WHERE order_id = $1 AND event_id = $2`, orderID, msg.ID)
	inboxtest.RequireCount(t, db.DB, 0, `SELECT count(*) FROM notifications WHERE event_id = $1`, bad.ID)
	inboxtest.RequireCount(t, db.DB, 0, `SELECT count(*) FROM processed_events WHERE event_id = $1`, bad.ID)
}
