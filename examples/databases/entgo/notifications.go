package entgo

import (
	"context"

	entsql "entgo.io/ent/dialect/sql"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/examples/databases/entgo/ent"
	"github.com/asimalizada/pulse-events/inbox"
)

// NotifyInTx returns a handler for inbox.NewConsumerFunc, which begins an
// ent.Tx and claims the message in it.
func NotifyInTx(client *ent.Client, in *inbox.Inbox) func(context.Context, inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) error {
		return withTx(ctx, client, func(tx *ent.Tx) error {
			fresh, err := in.Claim(ctx, tx, msg)
			if err != nil || !fresh {
				return err // a duplicate changes nothing, and is acknowledged
			}
			var event databases.OrderCreated
			if err := inbox.DecodeJSON(msg, &event); err != nil {
				return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
			}
			return create(tx.Notification, msg, event).Exec(ctx)
		})
	}
}

// Notify returns a handler for inbox.NewConsumer. The transaction belongs to
// the inbox, which commits it: a client on top of it runs its statements there.
// Such a client begins no transaction, which ent does by itself to create or
// update an entity together with its edges: use NotifyInTx for these. d is the
// dialect, such as dialect.Postgres.
func Notify(d string) inbox.Handler {
	return inbox.JSON(func(ctx context.Context, tx inbox.Tx, msg inbox.Message, event databases.OrderCreated) error {
		client := ent.NewClient(ent.Driver(entsql.NewDriver(d, entsql.Conn{ExecQuerier: tx})))
		return create(client.Notification, msg, event).Exec(ctx)
	})
}

func create(c *ent.NotificationClient, msg inbox.Message, event databases.OrderCreated) *ent.NotificationCreate {
	return c.Create().SetEventID(msg.ID).SetOrderID(event.OrderID).SetCustomerID(event.CustomerID)
}
