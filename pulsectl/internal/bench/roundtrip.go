package bench

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
)

// RoundTrip is how long messages take from the commit that enqueues them to the
// commit that applies them.
type RoundTrip struct {
	Latency   Latency
	QueueType string
	Wake      Wake
}

// MeasureRoundTrip sends messages at c.Rate for c.Duration through outbox, relay,
// broker, consumer and inbox. Both have the same database.
func MeasureRoundTrip(ctx context.Context, c Config) (_ RoundTrip, err error) {
	p, err := c.newPlace(ctx)
	if err != nil {
		return RoundTrip{}, err
	}
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	b, err := c.newBroker(ctx)
	if err != nil {
		return RoundTrip{}, err
	}
	defer func() { err = errors.Join(err, b.remove(ctx)) }()
	ob, err := p.outbox(ctx)
	if err != nil {
		return RoundTrip{}, err
	}
	in, err := p.inbox(ctx)
	if err != nil {
		return RoundTrip{}, err
	}
	publisher, err := b.publisher(ctx)
	if err != nil {
		return RoundTrip{}, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	source, err := b.source()
	if err != nil {
		return RoundTrip{}, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()

	timed := &timedSource{Source: source, settled: map[string]time.Time{}}
	consumer, err := inbox.NewConsumer(in, timed, p.apply, inbox.ConsumerConfig{Logger: quiet})
	if err != nil {
		return RoundTrip{}, err
	}
	relay, err := outbox.NewRelay(ob, publisher, c.relayConfig())
	if err != nil {
		return RoundTrip{}, err
	}
	consuming, relaying := start(ctx, consumer.Run), start(ctx, relay.Run)
	committed, took, err := c.steadyTrips(ctx, p, ob, relay, consumer, consuming, relaying)
	if err := errors.Join(err, relaying.stop(), consuming.stop()); err != nil {
		return RoundTrip{}, err
	}
	if err := p.want(ctx, len(committed), "effects", "true"); err != nil {
		return RoundTrip{}, err
	}
	var seconds []float64
	for id, at := range committed {
		seconds = append(seconds, timed.settled[id.String()].Sub(at).Seconds())
	}
	return RoundTrip{Latency: latencyOf(seconds, took), QueueType: c.QueueType.String(), Wake: cmp.Or(c.Wake, ByCall)}, nil
}

// steadyTrips enqueues messages and waits until all are applied.
func (c Config) steadyTrips(ctx context.Context, p *place, ob *outbox.Outbox, relay *outbox.Relay, consumer *inbox.Consumer, consuming, relaying *running) (map[uuid.UUID]time.Time, time.Duration, error) {
	err := eventually(ctx, "subscribing", consuming.ended, func() bool { return consumer.Health().State == inbox.Running })
	if err != nil {
		return nil, 0, err
	}
	c.progress("%d messages a second for %v", c.Rate, c.Duration)
	committed, took, err := c.enqueueSteadily(ctx, p, ob, relay)
	if err != nil {
		return nil, 0, err
	}
	err = eventually(ctx, "publishing", relaying.ended, func() bool { return relay.Health().Published >= int64(len(committed)) })
	if err == nil {
		err = eventually(ctx, "applying", consuming.ended, func() bool { return consumer.Health().Applied >= int64(len(committed)) })
	}
	return committed, took, err
}

// timedSource notes when messages are acknowledged, which a consumer does after
// the commit that applied them.
type timedSource struct {
	*inboxrabbit.Source
	mu      sync.Mutex
	settled map[string]time.Time
}

func (s *timedSource) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	now := time.Now()
	s.mu.Lock()
	for _, each := range settlements {
		if each.Action == inbox.ActionAck {
			s.settled[each.Delivery.Message.ID] = now
		}
	}
	s.mu.Unlock()
	return s.Source.Settle(ctx, settlements)
}
