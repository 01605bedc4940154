package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// read completes a history with what tables and queues hold. No process may run
// any more.
func (s *system) read(ctx context.Context, h *check.History) error {
	for _, step := range []func(context.Context, *check.History) error{s.readOrders, s.readOutboxes, s.readEffects, s.readQueues} {
		if err := step(ctx, h); err != nil {
			return fmt.Errorf("read the history: %w", err)
		}
	}
	return nil
}

func (s *system) readOrders(ctx context.Context, h *check.History) error {
	var rows []struct {
		ID       string `db:"id"`
		Event    string `db:"event_id"`
		Customer string `db:"customer"`
		N        int    `db:"n"`
	}
	if err := s.orders.db.SelectContext(ctx, &rows, `SELECT id, event_id, customer, n FROM chaos_orders`); err != nil {
		return err
	}
	for _, r := range rows {
		h.Orders = append(h.Orders, check.Order{ID: r.ID, Event: r.Event, Key: r.Customer, N: r.N})
	}
	return nil
}

func (s *system) readOutboxes(ctx context.Context, h *check.History) error {
	for _, store := range []*store{s.orders, s.effects} {
		var rows []struct {
			ID      string `db:"id"`
			Status  string `db:"status"`
			Payload []byte `db:"payload"`
		}
		if err := store.db.SelectContext(ctx, &rows, `SELECT id, status, payload FROM outbox_messages`); err != nil {
			return err
		}
		for _, r := range rows {
			h.Outbox = append(h.Outbox, check.Row{Event: r.ID, Status: check.Status(r.Status), Body: process.Digest(r.Payload)})
		}
	}
	return nil
}

func (s *system) readEffects(ctx context.Context, h *check.History) error {
	var rows []struct {
		Event     string `db:"event_id"`
		FollowUp  string `db:"follow_up"`
		Body      string `db:"body"`
		AppliedAt int64  `db:"applied_at"`
	}
	if err := s.effects.db.SelectContext(ctx, &rows, `SELECT event_id, follow_up, body, applied_at FROM chaos_effects`); err != nil {
		return err
	}
	for _, r := range rows {
		h.Effects = append(h.Effects, check.Effect{Event: r.Event, FollowUp: r.FollowUp, Body: r.Body, At: time.UnixMicro(r.AppliedAt)})
	}
	return s.effects.db.SelectContext(ctx, &h.Inbox, `SELECT event_id FROM processed_events WHERE consumer = $1`, process.ConsumerName)
}

func (s *system) readQueues(ctx context.Context, h *check.History) error {
	d, err := s.depths(ctx)
	if err != nil {
		return err
	}
	h.Queued = d.Ready + d.Retrying
	s.mu.Lock()
	h.Restored = append(h.Restored, s.restored...)
	s.mu.Unlock()
	return s.inspect(ctx, func(i *rabbitmq.Inspector) (err error) {
		h.DeadLetters, err = i.DeadLetterIDs(ctx, 0)
		return err
	})
}
