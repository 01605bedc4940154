package sqlc

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asimalizada/pulse-events/examples/databases"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/pgxstore"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/store"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/pgxtx"
)

// Notify is a handler for inbox.NewConsumer. The transaction belongs to the
// inbox, which commits it, and is a DBTX as New takes it.
var Notify = inbox.JSON(func(ctx context.Context, tx inbox.Tx, msg inbox.Message, event databases.OrderCreated) error {
	return store.New(tx).InsertNotification(ctx, store.InsertNotificationParams{
		ID: uuid.NewString(), EventID: msg.ID, OrderID: event.OrderID, CustomerID: event.CustomerID,
	})
})

// NotifyInTx returns a handler for inbox.NewConsumerFunc, which begins the
// transaction itself and claims the message in it.
func NotifyInTx(db *sql.DB, in *inbox.Inbox) func(context.Context, inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // does nothing after the commit
		fresh, err := in.Claim(ctx, tx, msg)
		if err != nil || !fresh {
			return err // a duplicate changes nothing, and is acknowledged
		}
		var event databases.OrderCreated
		if err := inbox.DecodeJSON(msg, &event); err != nil {
			return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
		}
		err = store.New(db).WithTx(tx).InsertNotification(ctx, store.InsertNotificationParams{
			ID: uuid.NewString(), EventID: msg.ID, OrderID: event.OrderID, CustomerID: event.CustomerID,
		})
		if err != nil {
			return err
		}
		return tx.Commit()
	}
}

// NotifyPgx is NotifyInTx in a transaction of pgx, which pgxtx.Apply begins and
// commits.
func NotifyPgx(pool *pgxpool.Pool, in *inbox.Inbox) func(context.Context, inbox.Message) error {
	return pgxtx.Apply(in, pool, func(ctx context.Context, tx pgx.Tx, msg inbox.Message) error {
		var event databases.OrderCreated
		if err := inbox.DecodeJSON(msg, &event); err != nil {
			return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
		}
		return pgxstore.New(pool).WithTx(tx).InsertNotification(ctx, pgxstore.InsertNotificationParams{
			ID: uuid.NewString(), EventID: msg.ID, OrderID: event.OrderID, CustomerID: event.CustomerID,
		})
	})
}
