package bench

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// Relay is how fast a relay drains a backlog.
type Relay struct {
	Messages  int     // of a turn
	Rate      float64 // messages per second: the relay with its defaults
	Ceiling   float64 // the bare client that sends the same messages from memory
	Ratio     float64 // Rate / Ceiling
	QueueType string
	Retention string // keep or delete: what happens to published rows
	Latency   Latency
	Wake      Wake
}

// Latency is how long messages took that were enqueued at a steady rate.
type Latency struct {
	Rate     float64       // messages per second that were enqueued, in fact
	Messages int           // so many
	P50, P99 time.Duration // 0: not measured
}

// latencyOf summarises seconds of messages that were enqueued in a time.
func latencyOf(seconds []float64, took time.Duration) Latency {
	l := Latency{Messages: len(seconds), Rate: ratio(float64(len(seconds)), took.Seconds())}
	l.P50 = time.Duration(quantile(seconds, 0.5) * float64(time.Second))
	l.P99 = time.Duration(quantile(seconds, 0.99) * float64(time.Second))
	return l
}

// MeasureRelay measures a relay with its defaults: first the drain of a backlog,
// in turns with the bare client, then the time from commit to confirm of messages
// that come at c.Rate.
func MeasureRelay(ctx context.Context, c Config) (_ Relay, err error) {
	p, err := c.newPlace(ctx)
	if err != nil {
		return Relay{}, err
	}
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	b, err := c.newBroker(ctx)
	if err != nil {
		return Relay{}, err
	}
	defer func() { err = errors.Join(err, b.remove(ctx)) }()
	ob, err := p.outbox(ctx)
	if err != nil {
		return Relay{}, err
	}
	publisher, err := b.publisher(ctx)
	if err != nil {
		return Relay{}, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()

	msgs := c.messages(c.Messages)
	publishings := b.encode(msgs)
	var client, relayed rates
	for round := range c.Rounds {
		c.progress("round %d of %d: the bare client", round+1, c.Rounds)
		if err := client.measure(len(msgs), func() error { return b.publish(ctx, publishings) }); err != nil {
			return Relay{}, err
		}
		if err := b.take(ctx, len(msgs)); err != nil {
			return Relay{}, err
		}
		c.progress("round %d of %d: the relay", round+1, c.Rounds)
		if err := c.drain(ctx, p, ob, publisher, msgs, &relayed); err != nil {
			return Relay{}, err
		}
		if err := b.take(ctx, len(msgs)); err != nil {
			return Relay{}, err
		}
	}
	r := Relay{
		Messages: c.Messages, Rate: median(relayed), Ceiling: median(client), Ratio: ratio(median(relayed), median(client)),
		QueueType: c.QueueType.String(), Retention: map[bool]string{false: "keep", true: "delete"}[c.Delete],
		Wake: cmp.Or(c.Wake, ByCall),
	}
	if c.Duration > 0 {
		c.progress("the time from commit to confirm")
		r.Latency, err = c.confirmLatency(ctx, p, ob, publisher)
	}
	return r, err
}

func (c Config) relayConfig() outbox.RelayConfig {
	cfg := outbox.RelayConfig{Logger: quiet}
	if c.Delete {
		cfg.Retention = outbox.DeleteOnPublish
	}
	return cfg
}

// drain fills the outbox with msgs and measures how fast a relay publishes them.
func (c Config) drain(ctx context.Context, p *place, ob *outbox.Outbox, publisher outbox.Publisher, msgs []outbox.Message, r *rates) error {
	if err := p.empty(ctx, "outbox_messages"); err != nil {
		return err
	}
	for batch := range slices.Chunk(msgs, 500) {
		if err := p.transact(ctx, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, batch...) }); err != nil {
			return err
		}
	}
	relay, err := outbox.NewRelay(ob, publisher, c.relayConfig())
	if err != nil {
		return err
	}
	var run *running
	err = r.measure(len(msgs), func() error {
		run = start(ctx, relay.Run)
		return eventually(ctx, "draining the outbox", run.ended, func() bool { return relay.Health().Published >= int64(len(msgs)) })
	})
	if err := errors.Join(err, run.stop()); err != nil {
		return err
	}
	if c.Delete {
		return p.want(ctx, 0, "outbox_messages", "true")
	}
	return p.want(ctx, len(msgs), "outbox_messages", "status = 'published'")
}

// timedPublisher notes when messages are confirmed.
type timedPublisher struct {
	*outboxrabbit.Publisher
	mu        sync.Mutex
	confirmed map[uuid.UUID]time.Time
}

func (p *timedPublisher) Publish(ctx context.Context, msgs []outbox.Message) []error {
	errs := p.Publisher.Publish(ctx, msgs)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, err := range errs {
		if err == nil {
			p.confirmed[msgs[i].ID] = now
		}
	}
	return errs
}

// confirmLatency measures the time from commit to confirm while messages come one
// by one.
func (c Config) confirmLatency(ctx context.Context, p *place, ob *outbox.Outbox, publisher *outboxrabbit.Publisher) (Latency, error) {
	if err := p.empty(ctx, "outbox_messages"); err != nil {
		return Latency{}, err
	}
	timed := &timedPublisher{Publisher: publisher, confirmed: map[uuid.UUID]time.Time{}}
	relay, err := outbox.NewRelay(ob, timed, c.relayConfig())
	if err != nil {
		return Latency{}, err
	}
	run := start(ctx, relay.Run)
	committed, took, err := c.enqueueSteadily(ctx, p, ob, relay)
	if err == nil {
		err = eventually(ctx, "publishing", run.ended, func() bool { return relay.Health().Published >= int64(len(committed)) })
	}
	if err := errors.Join(err, run.stop()); err != nil {
		return Latency{}, err
	}
	var seconds []float64
	for id, at := range committed {
		seconds = append(seconds, timed.confirmed[id].Sub(at).Seconds())
	}
	return latencyOf(seconds, took), nil
}

// producers is how many transactions enqueue at the same time.
const producers = 8

// enqueueSteadily enqueues messages at c.Rate for c.Duration, each in its
// transaction, and returns when each was committed. Where the database is too slow
// the rate is lower.
func (c Config) enqueueSteadily(ctx context.Context, p *place, ob *outbox.Outbox, relay *outbox.Relay) (_ map[uuid.UUID]time.Time, _ time.Duration, err error) {
	wake, stop, err := c.waker(ctx, p, relay)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	msgs := c.messages(max(1, int(float64(c.Rate)*c.Duration.Seconds())))
	due := make(chan outbox.Message)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	committed := map[uuid.UUID]time.Time{}
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			for m := range due {
				if err := p.transact(ctx, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, m) }); err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				wake()
				mu.Lock()
				committed[m.ID] = now
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	interval := time.Second / time.Duration(max(1, c.Rate))
	for i, m := range msgs {
		timer := time.NewTimer(time.Until(began.Add(time.Duration(i) * interval)))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		select {
		case due <- m:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(due)
	group.Wait()
	return committed, time.Since(began), context.Cause(ctx)
}
