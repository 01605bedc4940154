package readme

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// notify runs in the transaction that marks the event as applied: both or neither.
func notify(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notifications (event_id, body) VALUES ($1, $2)`, msg.ID, msg.Payload)
	return err
}

func runConsumer(ctx context.Context, db *sqlx.DB, amqpURL string) error {
	in, err := inbox.New(db, "notifications")
	if err != nil {
		return err
	}
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{URL: amqpURL, Queue: "order.created"})
	if err != nil {
		return err
	}
	defer source.Close()
	consumer, err := inbox.NewConsumer(in, source, notify, inbox.ConsumerConfig{})
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

var _ = runConsumer
