package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

func ExampleOpen() {
	ctx := context.Background()
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
	tx, err := db.BeginTxx(ctx, nil) // immediate
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if err := ob.Enqueue(ctx, tx, outbox.NewMessage("order.created", []byte(`{}`))); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
	stats, err := ob.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pending:", stats.Pending.N)
	// Output: pending: 1
}
