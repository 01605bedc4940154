package outbox_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// A database for each tenant, and one process that publishes from all of them.
// For schemas of one PostgreSQL database give outbox.New the option WithSchema.
func ExampleRelays() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "tenants")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	outboxes := make(map[string]*outbox.Outbox)
	for _, tenant := range []string{"acme", "umbrella"} {
		db, err := sqlite.Open(filepath.Join(dir, tenant+".db"))
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		ob, err := outbox.New(db)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := ob.Migrate(ctx); err != nil {
			log.Fatal(err)
		}
		tx, err := db.BeginTxx(ctx, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer tx.Rollback()
		if err := ob.Enqueue(ctx, tx, outbox.NewMessage("order.created", []byte(tenant))); err != nil {
			log.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			log.Fatal(err)
		}
		outboxes[tenant] = ob
	}

	publisher := &outboxtest.Recorder{} // in place of a publisher of outbox/rabbitmq
	relays, err := outbox.NewRelays(outboxes, publisher, outbox.RelaysConfig{Connections: 4})
	if err != nil {
		log.Fatal(err)
	}
	drained, err := relays.Drain(ctx) // a service calls Run instead, until it stops
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(drained["acme"].Published, drained["umbrella"].Published, len(publisher.Published()))
	// Output: 1 1 2
}
