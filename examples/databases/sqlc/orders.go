package sqlc

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/pgxstore"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/store"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/pgxtx"
)

// PlaceOrder inserts the order and enqueues the event that tells of it, in one
// transaction of database/sql.
func PlaceOrder(ctx context.Context, db *sql.DB, ob *outbox.Outbox, order store.InsertOrderParams) error {
	event, err := created(order.ID, order.CustomerID, order.AmountCents)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	if err := store.New(db).WithTx(tx).InsertOrder(ctx, order); err != nil {
		return err
	}
	if err := ob.Enqueue(ctx, tx, event); err != nil {
		return err
	}
	return tx.Commit()
}

// PlaceOrderPgx is PlaceOrder in a transaction of pgx.
func PlaceOrderPgx(ctx context.Context, pool *pgxpool.Pool, ob *outbox.Outbox, order pgxstore.InsertOrderParams) error {
	event, err := created(order.ID, order.CustomerID, order.AmountCents)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := pgxstore.New(pool).WithTx(tx).InsertOrder(ctx, order); err != nil {
			return err
		}
		return ob.Enqueue(ctx, pgxtx.Tx(tx), event)
	})
}

func created(orderID, customerID string, amountCents int64) (outbox.Message, error) {
	msg, err := outbox.NewJSON("order.created", databases.OrderCreated{OrderID: orderID, CustomerID: customerID, AmountCents: amountCents})
	msg.Key = orderID
	return msg, err
}
