package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// replays is how many events are published again, at most.
const replays = 50

// replay publishes copies of events that have been published, as an operator does.
func (s *system) replay(ctx context.Context, published []check.Publication) (replayed []string, err error) {
	var events []string
	for i := 0; i < len(published) && len(events) < replays; i += 1 + len(published)/replays {
		events = append(events, published[i].Event)
	}
	return s.publishAgain(ctx, events)
}

// publishAgain publishes the events of orders among these again, from the outbox, and
// returns which these are.
func (s *system) publishAgain(ctx context.Context, events []string) (published []string, err error) {
	publisher, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: s.broker(), Exchange: s.exchange, Producer: "chaos-replay", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	var msgs []outbox.Message
	for _, event := range events {
		id, err := uuid.Parse(event)
		if err != nil {
			continue // a ghost, which the checker finds
		}
		record, err := s.orders.outbox.Get(ctx, id)
		if errors.Is(err, outbox.ErrNotFound) {
			continue // a follow-up
		}
		if err != nil {
			return nil, err
		}
		msgs, published = append(msgs, record.Message), append(published, event)
	}
	for some := range slices.Chunk(msgs, 500) {
		if err := errors.Join(publisher.Publish(ctx, some)...); err != nil {
			return nil, fmt.Errorf("publish again: %w", err)
		}
	}
	return published, nil
}

// await waits until nothing is left to do, and returns what is, when ctx ends. A
// process that has ended by itself ends the wait: the others may not be able to do
// its work.
func (s *system) await(ctx context.Context) (waiting string) {
	_ = waitFor(ctx, func() (bool, error) {
		waiting = s.left(ctx)
		return waiting == "" || len(s.crashed()) > 0, nil
	})
	return waiting
}

// settle is await, and stops all processes in order. What consumers return when they
// stop is consumed by others.
func (s *system) settle(ctx context.Context) (waiting string, err error) {
	for {
		waiting = s.await(ctx)
		s.stopMembers()
		if waiting != "" || len(s.crashed()) > 0 {
			return waiting, nil
		}
		// A consumer may have held copies of what was applied: they are in the queue
		// again when the broker knows that it is gone.
		if err := s.awaitConsumers(ctx, func(n int) bool { return n == 0 }); err != nil {
			return "the broker: " + err.Error(), nil
		}
		if waiting = s.left(ctx); waiting == "" {
			return "", nil
		}
		for name, m := range s.members {
			if name == brokerName {
				continue
			}
			if err := m.start(ctx); err != nil {
				return waiting, err
			}
		}
	}
}

// left says what is left to do; empty: nothing.
func (s *system) left(ctx context.Context) string {
	for _, o := range []struct {
		store *store
		name  string
	}{{s.orders, "orders"}, {s.effects, "effects"}} {
		switch n, err := o.store.count(ctx, `outbox_messages WHERE status = 'pending'`); {
		case err != nil:
			return "the database: " + err.Error()
		case n > 0:
			return fmt.Sprintf("%d messages are pending in the outbox of the %s", n, o.name)
		}
	}
	d, err := s.depths(ctx)
	switch {
	case err != nil:
		return "the broker: " + err.Error()
	case d.Ready+d.Retrying > 0:
		return fmt.Sprintf("%d messages are in the queue, %d wait for a retry", d.Ready, d.Retrying)
	}
	var tapped int
	err = s.inspect(ctx, func(i *rabbitmq.Inspector) (err error) {
		tapped, _, err = i.Depth(ctx, s.tapQueue())
		return err
	})
	if err != nil || tapped > 0 {
		return "the observer's queue is not empty"
	}
	published, err1 := s.orders.count(ctx, `outbox_messages WHERE status = 'published'`)
	applied, err2 := s.effects.count(ctx, `(SELECT DISTINCT event_id FROM chaos_effects) AS applied`)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return "the database: " + err.Error()
	case applied+d.DeadLettered < published:
		return fmt.Sprintf("%d events are published and not applied", published-applied-d.DeadLettered)
	}
	return ""
}

// stopMembers stops all processes but the broker, in order: then nobody holds a
// message any more. One that cannot end in order counts as one that has ended by
// itself.
func (s *system) stopMembers() {
	var stopping sync.WaitGroup
	for name, m := range s.members {
		if name == brokerName {
			continue
		}
		stopping.Go(func() {
			if err := m.stop(); err != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.crashes = append(s.crashes, err.Error())
			}
		})
	}
	stopping.Wait()
}
