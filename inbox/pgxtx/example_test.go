package pgxtx_test

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/pgxtx"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

func ExampleApply() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("PULSE_INBOX_DB"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx") // for the inbox's own tables
	in, err := inbox.New(db, "billing")
	if err != nil {
		log.Fatal(err)
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{URL: os.Getenv("PULSE_AMQP_URL"), Queue: "invoice.sent"})
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	book := func(ctx context.Context, tx pgx.Tx, msg inbox.Message) error {
		_, err := tx.Exec(ctx, `INSERT INTO bookings (event_id) VALUES ($1)`, msg.ID)
		return err
	}
	consumer, err := inbox.NewConsumerFunc(source, pgxtx.Apply(in, pool, book), inbox.ConsumerConfig{Inbox: in})
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Print(err)
	}
}
