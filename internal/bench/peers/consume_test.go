package peers

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// BenchmarkConsume measures how fast a queue in which every tenth delivery is a
// copy is applied to PostgreSQL, each message once: an effect of one row, in one
// transaction with the record that it was applied.
func BenchmarkConsume(b *testing.B) {
	forQueueTypes(b, func(b *testing.B, queueType string) {
		r := newRig(b, queueType)
		in, err := inbox.New(r.db, "bench")
		r.must(err)
		_, err = in.Migrate(b.Context())
		r.must(err)
		// Without a unique key on events, so that one applied twice shows.
		r.exec(`CREATE TABLE effects (n bigserial PRIMARY KEY, event_id text NOT NULL)`)
		r.exec(`CREATE TABLE handled (event_id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())`)
		most, fewer := withCopies(newMessages(*backlog)), withCopies(newMessages(*backlog/2))
		r.compare("Consume a "+queueType+" queue with an inbox",
			&entrant{name: "Pulse Events, batches", unit: "batched", ours: true, turn: r.consume(in, most, inbox.ConsumerConfig{})},
			&entrant{name: "Pulse Events, one by one", unit: "single", ours: true, turn: r.consume(in, fewer, inbox.ConsumerConfig{BatchSize: 1, Workers: 8, Prefetch: 64})},
			&entrant{name: "watermill-amqp, inbox by hand", unit: "watermill", turn: r.consumeByWatermill(fewer)},
		)
	})
}

// withCopies makes every tenth message a copy of the one a thousand places before.
func withCopies(msgs []message) []message {
	const distance = 1000
	var all []message
	for group := range slices.Chunk(msgs[:len(msgs)*9/10], 9) {
		all = append(all, group...)
		all = append(all, all[max(0, len(all)-distance)])
	}
	return all
}

// distinct counts messages without their copies.
func distinct(msgs []message) int {
	ids := make(map[string]bool)
	for _, m := range msgs {
		ids[m.key] = true
	}
	return len(ids)
}

// fill sends deliveries that both libraries read.
func (r *rig) fill(msgs []message) {
	r.b.Helper()
	publishings := make([]amqp.Publishing, len(msgs))
	for i, m := range msgs {
		publishings[i] = amqp.Publishing{
			MessageId: m.id.String(), ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: m.body,
			Headers: amqp.Table{"pulse-key": m.key, wmamqp.DefaultMessageUUIDHeaderKey: m.id.String()},
		}
	}
	r.publish(publishings)
}

func (r *rig) consume(in *inbox.Inbox, msgs []message, cfg inbox.ConsumerConfig) func() (int, time.Duration) {
	apply := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id) VALUES ($1)`, msg.ID)
		return err
	}
	cfg.Logger = quiet
	return func() (int, time.Duration) {
		r.b.Helper()
		r.exec(`TRUNCATE processed_events, effects`)
		r.fill(msgs)
		source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{URL: r.brokerURL, Queue: r.queue, Topology: inboxrabbit.None, Logger: quiet})
		r.must(err)
		consumer, err := inbox.NewConsumer(in, source, apply, cfg)
		r.must(err)
		began := time.Now()
		stop := r.start(consumer.Run)
		r.eventually("the queue to be consumed", func() bool {
			h := consumer.Health()
			return h.Applied+h.Duplicates == int64(len(msgs))
		})
		took := time.Since(began)
		stop()
		r.must(source.Close())
		r.take(0)
		r.count(distinct(msgs), `SELECT count(*) FROM effects`)
		return len(msgs), took
	}
}

// consumeByWatermill consumes with eight subscribers of watermill-amqp, each of
// which claims the message, applies it, commits and then acknowledges.
func (r *rig) consumeByWatermill(msgs []message) func() (int, time.Duration) {
	const subscribers, prefetch = 8, 64
	cfg := wmamqp.NewDurableTopicConfig(r.brokerURL, r.exchange, r.queue)
	cfg.Exchange.Durable = true
	cfg.Queue.Arguments = r.arguments()
	cfg.QueueBind.GenerateRoutingKey = func(string) string { return topic }
	cfg.Consume.Qos.PrefetchCount = prefetch
	return func() (int, time.Duration) {
		r.b.Helper()
		r.exec(`TRUNCATE handled, effects`)
		r.fill(msgs)
		subscriber, err := wmamqp.NewSubscriber(cfg, watermill.NopLogger{})
		r.must(err)
		ctx, cancel := context.WithCancel(r.b.Context())
		defer cancel()
		var handled atomic.Int64
		var working sync.WaitGroup
		began := time.Now()
		for range subscribers {
			deliveries, err := subscriber.Subscribe(ctx, topic)
			r.must(err)
			working.Go(func() {
				for msg := range deliveries {
					if err := r.applyOnce(ctx, msg); err != nil {
						r.b.Errorf("apply: %v", err)
					}
					msg.Ack()
					handled.Add(1)
				}
			})
		}
		r.eventually("the queue to be consumed", func() bool { return handled.Load() >= int64(len(msgs)) })
		took := time.Since(began)
		r.must(subscriber.Close())
		working.Wait()
		r.take(0)
		r.count(distinct(msgs), `SELECT count(*) FROM effects`)
		return len(msgs), took
	}
}

// applyOnce is the inbox written by hand.
func (r *rig) applyOnce(ctx context.Context, msg *wm.Message) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		claimed, err := tx.Exec(ctx, `INSERT INTO handled (event_id) VALUES ($1) ON CONFLICT DO NOTHING`, msg.UUID)
		if err != nil || claimed.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO effects (event_id) VALUES ($1)`, msg.UUID)
		return err
	})
}
