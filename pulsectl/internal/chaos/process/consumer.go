package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// Digest stands for the body of a message in a history.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// consume applies the event of each order: an effect, and an event that tells of
// it, in the transaction of the inbox. A relay in the same process publishes those.
func (c Config) consume(ctx context.Context, log *slog.Logger) (err error) {
	db, err := c.database(12)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ended(db.Close())) }()
	in, err := inbox.New(db, ConsumerName)
	if err != nil {
		return err
	}
	ob, err := outbox.New(db)
	if err != nil {
		return err
	}
	source, err := inboxrabbit.NewSource(c.SourceConfig(log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	consumer, err := inbox.NewConsumer(in, source, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		return apply(ctx, tx, ob, msg)
	}, consumerConfig(log))
	if err != nil {
		return err
	}
	publisher, err := outboxrabbit.NewPublisher(c.publisher(handledProducer, log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	relay, err := outbox.NewRelay(ob, publisher, relayConfig(log))
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return consumer.Run(ctx) })
	group.Go(func() error { return relay.Run(ctx) })
	return group.Wait()
}

// apply commits an effect together with the inbox's claim.
func apply(ctx context.Context, tx inbox.Tx, ob *outbox.Outbox, msg inbox.Message) error {
	var order Placed
	if err := json.Unmarshal(msg.Payload, &order); err != nil {
		return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
	}
	follow, err := followUp(order.Customer, order.OrderID)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO chaos_effects (event_id, follow_up, body, applied_at) VALUES ($1, $2, $3, $4)`,
		msg.ID, follow.ID.String(), Digest(msg.Payload), time.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("insert the effect: %w", err)
	}
	return ob.Enqueue(ctx, tx, follow)
}
