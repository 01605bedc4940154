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

// A scheduled job, or a function in the cloud, publishes what is pending and ends.
func ExampleRelay_Drain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "orders.db"))
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
	tomorrow := outbox.NewMessage("order.reminded", nil)
	tomorrow.AvailableAt = time.Now().Add(24 * time.Hour)
	if err := ob.Enqueue(ctx, tx, outbox.NewMessage("order.created", nil), tomorrow); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}

	publisher := &outboxtest.Recorder{} // in place of a publisher of outbox/rabbitmq
	relay, err := outbox.NewRelay(ob, publisher, outbox.RelayConfig{})
	if err != nil {
		log.Fatal(err)
	}
	drained, err := relay.Drain(ctx)
	if err != nil { // the broker is down, say; what is left stays pending
		log.Fatal(err)
	}
	fmt.Printf("published: %d, due and not published: %d, due later: %d\n", drained.Published, drained.Left.N, drained.Later.N)
	// Output: published: 1, due and not published: 0, due later: 1
}
