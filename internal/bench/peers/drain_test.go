package peers

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// BenchmarkDrain measures how fast a backlog in PostgreSQL reaches a queue of
// RabbitMQ, persistent and with confirms. The bare client, which publishes from
// memory, shows what the broker takes.
func BenchmarkDrain(b *testing.B) {
	forQueueTypes(b, func(b *testing.B, queueType string) {
		r := newRig(b, queueType)
		msgs := newMessages(*backlog)
		relay := newPulse(r)
		r.compare("Drain a backlog to a "+queueType+" queue",
			&entrant{name: "AMQP client, no database", unit: "client", turn: r.bareClient(msgs)},
			&entrant{name: "Pulse Events, rows kept", unit: "kept", ours: true, turn: relay.turn(msgs, 0)},
			&entrant{name: "Pulse Events, rows deleted", unit: "deleted", ours: true, turn: relay.turn(msgs, outbox.DeleteOnPublish)},
			&entrant{name: "River, confirming worker", unit: "river", turn: newRiver(r).turn(msgs)},
			&entrant{name: "Watermill forwarder", unit: "watermill", turn: newForwarder(r).turn(msgs[:len(msgs)/5])},
		)
	})
}

func (r *rig) bareClient(msgs []message) func() (int, time.Duration) {
	return func() (int, time.Duration) {
		publishings := make([]amqp.Publishing, len(msgs))
		for i, m := range msgs {
			publishings[i] = amqp.Publishing{
				MessageId: m.id.String(), ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: m.body,
				Headers: amqp.Table{"key": m.key},
			}
		}
		began := time.Now()
		r.publish(publishings)
		took := time.Since(began)
		r.take(len(msgs))
		return len(msgs), took
	}
}

// pulse is this library, with its defaults.
type pulse struct {
	*rig
	outbox    *outbox.Outbox
	publisher *outboxrabbit.Publisher
}

func newPulse(r *rig) *pulse {
	r.b.Helper()
	ob, err := outbox.New(r.db)
	r.must(err)
	_, err = ob.Migrate(r.b.Context())
	r.must(err)
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{URL: r.brokerURL, Exchange: r.exchange, Producer: "bench", Logger: quiet})
	r.must(err)
	r.b.Cleanup(func() { p.Close() })
	r.eventually("the publisher's connection", func() bool { up, _ := p.Health(); return up })
	return &pulse{r, ob, p}
}

func (p *pulse) turn(msgs []message, retention time.Duration) func() (int, time.Duration) {
	return func() (int, time.Duration) {
		p.b.Helper()
		p.exec(`TRUNCATE outbox_messages`)
		for some := range slices.Chunk(msgs, 500) {
			batch := make([]outbox.Message, len(some))
			for i, m := range some {
				batch[i] = outbox.NewMessage(topic, m.body)
				batch[i].ID, batch[i].Key = m.id, m.key
			}
			tx, err := p.db.BeginTxx(p.b.Context(), nil)
			p.must(err)
			p.must(p.outbox.Enqueue(p.b.Context(), tx, batch...))
			p.must(tx.Commit())
		}
		relay, err := outbox.NewRelay(p.outbox, p.publisher, outbox.RelayConfig{Retention: retention, Logger: quiet})
		p.must(err)
		began := time.Now()
		stop := p.start(relay.Run)
		p.eventually("the backlog to be published", func() bool { return relay.Health().Published == int64(len(msgs)) })
		took := time.Since(began)
		stop()
		p.count(0, `SELECT count(*) FROM outbox_messages WHERE status <> 'published'`)
		p.take(len(msgs))
		return len(msgs), took
	}
}

// forwarding is Watermill's forwarder, from watermill-sql to watermill-amqp.
// It ends with an offset in the database; what counts is the confirm.
type forwarding struct {
	*rig
	publisher *wmamqp.Publisher
	confirmed atomic.Int64
}

const forwarderTopic = "forwarded"

func newForwarder(r *rig) *forwarding {
	r.b.Helper()
	cfg := wmamqp.NewDurableTopicConfig(r.brokerURL, r.exchange, r.queue)
	cfg.Exchange.Durable = true
	cfg.Publish.ConfirmDelivery = true
	cfg.Publish.ChannelPoolSize = 4
	cfg.Publish.Mandatory = true
	p, err := wmamqp.NewPublisher(cfg, watermill.NopLogger{})
	r.must(err)
	r.b.Cleanup(func() { p.Close() })
	return &forwarding{rig: r, publisher: p}
}

// Publish counts what was confirmed.
func (f *forwarding) Publish(topic string, msgs ...*wm.Message) error {
	if err := f.publisher.Publish(topic, msgs...); err != nil {
		return err
	}
	f.confirmed.Add(int64(len(msgs)))
	return nil
}

// Close leaves the publisher open for the next turn.
func (f *forwarding) Close() error { return nil }

func (f *forwarding) turn(msgs []message) func() (int, time.Duration) {
	schema := wmsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 500}
	return func() (int, time.Duration) {
		f.b.Helper()
		f.exec(`DROP TABLE IF EXISTS "watermill_forwarded", "watermill_offsets_forwarded"`)
		subscriber, err := wmsql.NewSubscriber(wmsql.BeginnerFromPgx(f.pool), wmsql.SubscriberConfig{
			PollInterval: 10 * time.Millisecond, SchemaAdapter: schema, OffsetsAdapter: wmsql.DefaultPostgreSQLOffsetsAdapter{},
		}, watermill.NopLogger{})
		f.must(err)
		f.must(subscriber.SubscribeInitialize(forwarderTopic))
		for some := range slices.Chunk(msgs, 500) {
			f.must(pgx.BeginFunc(f.b.Context(), f.pool, func(tx pgx.Tx) error {
				store, err := wmsql.NewPublisher(wmsql.TxFromPgx(tx), wmsql.PublisherConfig{SchemaAdapter: schema}, watermill.NopLogger{})
				if err != nil {
					return err
				}
				batch := make([]*wm.Message, len(some))
				for i, m := range some {
					batch[i] = wm.NewMessage(m.id.String(), m.body)
					batch[i].Metadata.Set("key", m.key)
				}
				return forwarder.NewPublisher(store, forwarder.PublisherConfig{ForwarderTopic: forwarderTopic}).Publish(topic, batch...)
			}))
		}
		f.confirmed.Store(0)
		fwd, err := forwarder.NewForwarder(subscriber, f, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: forwarderTopic})
		f.must(err)
		began := time.Now()
		stop := f.start(fwd.Run)
		f.eventually("the backlog to be forwarded", func() bool { return f.confirmed.Load() == int64(len(msgs)) })
		took := time.Since(began)
		f.must(fwd.Close())
		stop()
		f.take(len(msgs))
		return len(msgs), took
	}
}

// jobs is River with a job for each message, whose worker publishes it and waits
// for the confirm. The workers share a channel, so that confirms are pipelined.
type jobs struct{ *rig }

type publishArgs struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Body []byte `json:"body"`
}

// Kind implements river.JobArgs.
func (publishArgs) Kind() string { return "publish" }

type publishWorker struct {
	river.WorkerDefaults[publishArgs]
	rig *rig
}

// Work implements river.Worker.
func (w *publishWorker) Work(ctx context.Context, job *river.Job[publishArgs]) error {
	confirm, err := w.rig.channel.PublishWithDeferredConfirmWithContext(ctx, w.rig.exchange, topic, true, false, amqp.Publishing{
		MessageId: job.Args.ID, ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: job.Args.Body,
		Headers: amqp.Table{"key": job.Args.Key},
	})
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		err = errNacked
	}
	return err
}

var errNacked = errors.New("nacked")

func newRiver(r *rig) *jobs {
	r.b.Helper()
	migrator, err := rivermigrate.New(riverpgxv5.New(r.pool), &rivermigrate.Config{Logger: quiet})
	r.must(err)
	_, err = migrator.Migrate(r.b.Context(), rivermigrate.DirectionUp, nil)
	r.must(err)
	return &jobs{r}
}

func (j *jobs) turn(msgs []message) func() (int, time.Duration) {
	return func() (int, time.Duration) {
		j.b.Helper()
		j.exec(`TRUNCATE river_job`)
		workers := river.NewWorkers()
		river.AddWorker(workers, &publishWorker{rig: j.rig})
		client, err := river.NewClient(riverpgxv5.New(j.pool), &river.Config{
			Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2000}},
			FetchCooldown: time.Millisecond, FetchPollInterval: 10 * time.Millisecond, Workers: workers, Logger: quiet,
		})
		j.must(err)
		for some := range slices.Chunk(msgs, 500) {
			batch := make([]river.InsertManyParams, len(some))
			for i, m := range some {
				batch[i].Args = publishArgs{ID: m.id.String(), Key: m.key, Body: m.body}
			}
			j.must(pgx.BeginFunc(j.b.Context(), j.pool, func(tx pgx.Tx) error {
				_, err := client.InsertManyFastTx(j.b.Context(), tx, batch)
				return err
			}))
		}
		completed, cancel := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: len(msgs), Kinds: []river.EventKind{river.EventKindJobCompleted}})
		began := time.Now()
		j.must(client.Start(j.b.Context()))
		timeout := time.After(patience)
		for range msgs {
			select {
			case <-completed:
			case <-timeout:
				j.b.Fatal("River has not completed all jobs")
			}
		}
		took := time.Since(began)
		cancel()
		j.must(client.Stop(j.b.Context()))
		j.count(len(msgs), `SELECT count(*) FROM river_job WHERE state = 'completed'`)
		j.take(len(msgs))
		return len(msgs), took
	}
}
