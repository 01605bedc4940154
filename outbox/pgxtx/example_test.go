package pgxtx_test

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/pgxtx"
)

func ExampleTx() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("PULSE_OUTBOX_DB"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx") // for the relay and for queries
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id) VALUES ($1)`, "order-1"); err != nil {
			return err
		}
		return ob.Enqueue(ctx, pgxtx.Tx(tx), outbox.NewMessage("order.created", []byte(`{"id": "order-1"}`)))
	})
	if err != nil {
		log.Print(err)
	}
}
