package bun

import (
	"context"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/inbox"
)

// Notification is a row of the table notifications.
type Notification struct {
	bun.BaseModel `bun:"table:notifications"`

	ID         string `bun:",pk"`
	EventID    string `bun:",notnull"`
	OrderID    string `bun:",notnull"`
	CustomerID string `bun:",notnull"`
}

// Notify returns a handler for inbox.NewConsumer. The transaction belongs to
// the inbox, which commits it: Conn makes the query run there, and Conn is all
// that a query of bun needs.
func Notify(db *bun.DB) inbox.Handler {
	return inbox.JSON(func(ctx context.Context, tx inbox.Tx, msg inbox.Message, event databases.OrderCreated) error {
		_, err := db.NewInsert().Conn(tx).Model(newNotification(msg, event)).Exec(ctx)
		return err
	})
}

// NotifyInTx returns a handler for inbox.NewConsumerFunc, which begins the
// transaction itself and claims the message in it: for handlers that need a
// bun.Tx.
func NotifyInTx(db *bun.DB, in *inbox.Inbox) func(context.Context, inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) error {
		return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			fresh, err := in.Claim(ctx, tx.Tx, msg)
			if err != nil || !fresh {
				return err // a duplicate changes nothing, and is acknowledged
			}
			var event databases.OrderCreated
			if err := inbox.DecodeJSON(msg, &event); err != nil {
				return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
			}
			_, err = tx.NewInsert().Model(newNotification(msg, event)).Exec(ctx)
			return err
		})
	}
}

func newNotification(msg inbox.Message, event databases.OrderCreated) *Notification {
	return &Notification{ID: uuid.NewString(), EventID: msg.ID, OrderID: event.OrderID, CustomerID: event.CustomerID}
}
