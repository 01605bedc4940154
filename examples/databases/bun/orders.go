// Package bun shows outbox and inbox with bun (github.com/uptrace/bun).
//
// Both need a *sqlx.DB for their own tables. It shares the pool of the *bun.DB:
//
//	db := bun.NewDB(sqldb, pgdialect.New())
//	ob, err := outbox.New(sqlx.NewDb(sqldb, "pgx"))
package bun

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/outbox"
)

// Order is a row of the table orders.
type Order struct {
	bun.BaseModel `bun:"table:orders"`

	ID          string `bun:",pk"`
	CustomerID  string `bun:",notnull"`
	AmountCents int64  `bun:",notnull"`
}

// PlaceOrder inserts the order and enqueues the event that tells of it, in one
// transaction.
func PlaceOrder(ctx context.Context, db *bun.DB, ob *outbox.Outbox, order *Order) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(order).Exec(ctx); err != nil {
			return err
		}
		msg, err := outbox.NewJSON("order.created", databases.OrderCreated{
			OrderID: order.ID, CustomerID: order.CustomerID, AmountCents: order.AmountCents,
		})
		if err != nil {
			return err
		}
		msg.Key = order.ID
		// tx.Tx is the *sql.Tx inside: bun.Tx itself would format the statement
		// as one of bun's, and is refused.
		return ob.Enqueue(ctx, tx.Tx, msg)
	})
}
