package entgo_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/examples/databases/entgo"
	"github.com/asimalizada/pulse-events/examples/databases/entgo/ent"
	"github.com/asimalizada/pulse-events/examples/databases/entgo/ent/notification"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// Example places an order and applies its event, which comes twice.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "shop.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(databases.Schema + `INSERT INTO customers (id) VALUES ('customer-1')`); err != nil {
		log.Fatal(err)
	}
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	in, err := inbox.New(db, "notifications")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ob.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := in.Migrate(ctx); err != nil {
		log.Fatal(err)
	}

	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.SQLite, db.DB))) // the same pool
	err = entgo.PlaceOrder(ctx, client, ob, ent.Order{ID: "order-1", CustomerID: "customer-1", AmountCents: 7750})
	if err != nil {
		log.Fatal(err)
	}
	page, err := ob.List(ctx, outbox.ListQuery{})
	if err != nil {
		log.Fatal(err)
	}
	sent := page.Records[0]
	fmt.Println("enqueued:", sent.Topic, string(sent.Status))

	// What a consumer does with each delivery.
	notify := entgo.Notify(dialect.SQLite)
	msg := inbox.Message{ID: sent.ID.String(), Topic: sent.Topic, Payload: sent.Payload}
	for range 2 {
		outcome, err := in.Once(ctx, msg, func(ctx context.Context, tx inbox.Tx) error { return notify(ctx, tx, msg) })
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("delivered:", outcome)
	}
	n, err := client.Notification.Query().Where(notification.OrderID("order-1")).Count(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("notifications:", n)
	// Output:
	// enqueued: order.created pending
	// delivered: processed
	// delivered: duplicate
	// notifications: 1
}
