package bench

import (
	"context"
	"errors"
	"slices"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// Inbox is how fast a consumer applies messages.
type Inbox struct {
	Deliveries int     // of a turn
	Duplicates int     // among them
	Rate       float64 // deliveries per second: the consumer with its defaults
	Single     float64 // with a transaction for each message, 8 workers, prefetch 64
	Ceiling    float64 // the bare client, which has no database
	Ratio      float64 // Rate / Ceiling
	Speedup    float64 // Rate / Single
	QueueType  string
}

// copyEvery: every such delivery is a copy.
const copyEvery = 10

// MeasureInbox measures a consumer with an effect of one row per message on a full
// queue, in which every tenth delivery is a copy: with its defaults, with a
// transaction for each message, and the bare client, in turns.
func MeasureInbox(ctx context.Context, c Config) (_ Inbox, err error) {
	p, err := c.newPlace(ctx)
	if err != nil {
		return Inbox{}, err
	}
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	b, err := c.newBroker(ctx)
	if err != nil {
		return Inbox{}, err
	}
	defer func() { err = errors.Join(err, b.remove(ctx)) }()
	in, err := p.inbox(ctx)
	if err != nil {
		return Inbox{}, err
	}
	publishings := withCopies(b.encode(c.messages(c.Messages - c.Messages/copyEvery)))
	result := Inbox{Deliveries: len(publishings), Duplicates: len(publishings) / copyEvery, QueueType: c.QueueType.String()}

	var client, batched, single rates
	for round := range c.Rounds {
		for _, turn := range []struct {
			name string
			do   func() error
		}{
			{"the bare client", func() error {
				return client.measure(len(publishings), func() error { return b.consume(ctx, len(publishings)) })
			}},
			{"the consumer", func() error {
				return consume(ctx, b, p, in, inbox.ConsumerConfig{}, result, &batched)
			}},
			{"a transaction for each message", func() error {
				return consume(ctx, b, p, in, inbox.ConsumerConfig{BatchSize: 1, Workers: 8, Prefetch: 64}, result, &single)
			}},
		} {
			c.progress("round %d of %d: %s", round+1, c.Rounds, turn.name)
			if err := b.publish(ctx, publishings); err != nil {
				return Inbox{}, err
			}
			if err := turn.do(); err != nil {
				return Inbox{}, err
			}
			if err := b.take(ctx, 0); err != nil {
				return Inbox{}, err
			}
		}
	}
	result.Rate, result.Single, result.Ceiling = median(batched), median(single), median(client)
	result.Ratio, result.Speedup = ratio(result.Rate, result.Ceiling), ratio(result.Rate, result.Single)
	return result, nil
}

// consume measures how fast a consumer empties the queue.
func consume(ctx context.Context, b *broker, p *place, in *inbox.Inbox, cfg inbox.ConsumerConfig, want Inbox, r *rates) (err error) {
	if err := p.empty(ctx, "processed_events", "effects"); err != nil {
		return err
	}
	source, err := b.source()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	cfg.Logger = quiet
	consumer, err := inbox.NewConsumer(in, source, p.apply, cfg)
	if err != nil {
		return err
	}
	var run *running
	err = r.measure(want.Deliveries, func() error {
		run = start(ctx, consumer.Run)
		return eventually(ctx, "consuming", run.ended, func() bool {
			h := consumer.Health()
			return h.Applied+h.Duplicates >= int64(want.Deliveries)
		})
	})
	if err := errors.Join(err, run.stop()); err != nil {
		return err
	}
	return p.want(ctx, want.Deliveries-want.Duplicates, "effects", "true")
}

// withCopies makes every tenth element a copy of the one about a thousand places
// before, or of the first.
func withCopies(publishings []rabbit.Publishing) []rabbit.Publishing {
	const distance = 1000
	var all []rabbit.Publishing
	for group := range slices.Chunk(publishings, copyEvery-1) {
		if all = append(all, group...); len(group) == copyEvery-1 {
			all = append(all, all[max(0, len(all)-distance)])
		}
	}
	return all
}
