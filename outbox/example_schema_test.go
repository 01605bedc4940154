package outbox_test

import (
	"context"
	"log"
	"os"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
)

// Tenants share a database, each with a schema that exists already. Each outbox
// needs a relay of its own.
func ExampleWithSchema() {
	ctx := context.Background()
	db := sqlx.MustConnect("pgx", os.Getenv("PULSE_OUTBOX_DB"))
	outboxes := make(map[string]*outbox.Outbox)
	for _, tenant := range []string{"acme", "globex"} {
		ob, err := outbox.New(db, outbox.WithSchema(tenant))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := ob.Migrate(ctx); err != nil {
			log.Fatal(err)
		}
		outboxes[tenant] = ob
	}

	// A transaction enqueues into the outbox of its tenant, whatever its own
	// search_path is.
	tx := db.MustBeginTx(ctx, nil)
	defer tx.Rollback()
	tx.MustExec(`SET LOCAL search_path TO acme`)
	tx.MustExec(`INSERT INTO orders (id) VALUES ('order-1')`)
	if err := outboxes["acme"].Enqueue(ctx, tx, outbox.NewMessage("order.created", []byte(`{}`))); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
}
