package readme

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

func placeOrder(ctx context.Context, db *sqlx.DB, ob *outbox.Outbox, o order, payload []byte) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer_id) VALUES ($1, $2)`, o.ID, o.CustomerID); err != nil {
		return err
	}
	msg := outbox.NewMessage("order.created", payload)
	msg.Key = o.ID // messages of one order keep their order
	if err := ob.Enqueue(ctx, tx, msg); err != nil {
		return err
	}
	return tx.Commit() // now, and only now, it will be published
}

func runRelay(ctx context.Context, ob *outbox.Outbox, amqpURL string) error {
	publisher, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{URL: amqpURL, Producer: "orders"})
	if err != nil {
		return err
	}
	defer publisher.Close()
	relay, err := outbox.NewRelay(ob, publisher, outbox.RelayConfig{})
	if err != nil {
		return err
	}
	return relay.Run(ctx) // until ctx ends; the broker may be down, now or later
}

type order struct{ ID, CustomerID string }

var _ = []any{placeOrder, runRelay}
