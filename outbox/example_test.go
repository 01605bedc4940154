package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
)

var (
	ctx       = context.Background()
	db        = sqlx.MustOpen("pgx", "postgres://localhost/orders") // connects when used
	publisher outbox.Publisher
)

// A service that stores an order and tells others of it.
func Example() {
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ob.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	relay, err := outbox.NewRelay(ob, publisher, outbox.RelayConfig{})
	if err != nil {
		log.Fatal(err)
	}
	go relay.Run(ctx)

	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer_id) VALUES ($1, $2)`, 1, "customer-123"); err != nil {
		log.Fatal(err)
	}
	msg := outbox.NewMessage("order.created", []byte(`{"orderId":1,"customerId":"customer-123"}`))
	msg.Type = "OrderCreated"
	msg.Key = "order-1" // later messages about this order follow this one
	if err := ob.Enqueue(ctx, tx, msg); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil { // now, and only now, it will be published
		log.Fatal(err)
	}
	relay.Wake()
}

func ExampleNewMessage() {
	msg := outbox.NewMessage("order.created", nil)
	// The id is there before the insert, so the payload may carry it.
	msg.Payload = fmt.Appendf(nil, `{"eventId":%q}`, msg.ID)
	fmt.Println(msg.Topic, msg.ID.Version(), len(msg.Payload))
	// Output: order.created VERSION_7 50
}

// What is no transaction is refused: the message would be stored even if the
// change were not.
func ExampleOutbox_Enqueue_withoutTransaction() {
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	err = ob.Enqueue(ctx, db, outbox.NewMessage("order.created", nil))
	fmt.Println(errors.Is(err, outbox.ErrNoTransaction))
	// Output: true
}

// GORM hands over its transaction as tx.Statement.ConnPool.
func ExampleOutbox_Enqueue_gorm() {
	var tx struct { // stands for *gorm.DB
		Statement struct{ ConnPool outbox.Tx }
	}
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	if err := ob.Enqueue(ctx, tx.Statement.ConnPool, outbox.NewMessage("order.created", nil)); err != nil {
		fmt.Println("outside of a transaction there is no pool to use")
	}
	// Output: outside of a transaction there is no pool to use
}

func ExampleInvalidMessageError() {
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	tx := sqlx.Tx{} // bad messages do not come as far as the database
	err = ob.Enqueue(ctx, &tx, outbox.Message{Headers: map[string]string{"pulse-seq": "1"}})
	var invalid *outbox.InvalidMessageError
	if errors.As(err, &invalid) {
		for _, problem := range invalid.Problems {
			fmt.Println(problem)
		}
	}
	// Output:
	// Topic: is empty; set the routing key, such as order.created
	// Headers: "pulse-seq" is reserved
}

func ExampleWithCorrelationID() {
	// Where a request enters the service; an inbox handler's context has it already.
	ctx := outbox.WithCorrelationID(context.Background(), "checkout-42")
	fmt.Println(outbox.CorrelationID(ctx))
	// Output: checkout-42
}

// Everything that has been dead for an hour or more, page by page.
func ExampleOutbox_List() {
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	query := outbox.ListQuery{
		Statuses: []outbox.Status{outbox.Dead}, Until: time.Now().Add(-time.Hour), Limit: 100, WithoutPayload: true,
	}
	for {
		page, err := ob.List(ctx, query)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range page.Records {
			fmt.Println(r.ID, r.Attempts, r.LastError)
		}
		if query.After = page.Next; query.After == 0 {
			return
		}
	}
}

func ExampleOutbox_Retry() {
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	page, err := ob.List(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range page.Records {
		n, err := ob.Retry(ctx, r.ID)
		switch {
		case errors.Is(err, outbox.ErrNotFound):
			fmt.Println(r.ID, "is gone")
		case errors.Is(err, outbox.ErrStatus):
			fmt.Println(r.ID, "was discarded meanwhile, or published")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println("moved", n)
		}
	}
}

// Steps of the schema, for those who keep migrations in a tool of their own.
func ExampleSchema() {
	steps, err := outbox.Schema(outbox.PostgreSQL)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range steps {
		fmt.Printf("%04d %s\n", s.Version, s.Name)
	}
	// Output:
	// 0001 outbox
	// 0002 epoch
	// 0003 audit
	// 0004 pauses
}
