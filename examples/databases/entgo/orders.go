package entgo

import (
	"context"
	"errors"
	"fmt"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/examples/databases/entgo/ent"
	"github.com/asimalizada/pulse-events/outbox"
)

// PlaceOrder inserts the order and enqueues the event that tells of it, in one
// transaction.
func PlaceOrder(ctx context.Context, client *ent.Client, ob *outbox.Outbox, order ent.Order) error {
	return withTx(ctx, client, func(tx *ent.Tx) error {
		err := tx.Order.Create().SetID(order.ID).SetCustomerID(order.CustomerID).SetAmountCents(order.AmountCents).Exec(ctx)
		if err != nil {
			return err
		}
		msg, err := outbox.NewJSON("order.created", databases.OrderCreated{
			OrderID: order.ID, CustomerID: order.CustomerID, AmountCents: order.AmountCents,
		})
		if err != nil {
			return err
		}
		msg.Key = order.ID
		return ob.Enqueue(ctx, tx, msg)
	})
}

// withTx runs fn in a transaction, and commits it if fn returns nil.
func withTx(ctx context.Context, client *ent.Client, fn func(tx *ent.Tx) error) error {
	tx, err := client.Tx(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			_ = tx.Rollback() // the panic says more
			panic(p)
		}
	}()
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
