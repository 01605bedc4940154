package faults_test

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/outbox"
)

// consume applies the events, each twice, in batches, alone, and by hand.
func (p *pooled) consume(events []outbox.Message) {
	t := p.t
	var runs atomic.Int64
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if runs.Add(1)%7 == 0 {
			return errors.New("this attempt fails")
		}
		statement, err := tx.PrepareContext(ctx, `INSERT INTO public.effects (event_id) VALUES ($1)`)
		if err != nil {
			return err
		}
		defer statement.Close() // the session is another's after the transaction
		_, err = statement.ExecContext(ctx, msg.ID)
		return err
	}
	claiming := func(ctx context.Context, msg inbox.Message) error {
		tx, err := p.db.BeginTxx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if fresh, err := p.in.Claim(ctx, tx, msg); err != nil || !fresh {
			return err
		}
		if err := handler(ctx, tx, msg); err != nil {
			return err
		}
		return tx.Commit()
	}
	cfg := inbox.ConsumerConfig{Logger: logger(t), MaxAttempts: 20, BatchSize: 4, PurgeInterval: 50 * time.Millisecond,
		Backoff: func(int) time.Duration { return 10 * time.Millisecond }}
	queues := []*inboxtest.Queue{inboxtest.NewQueue(), inboxtest.NewQueue()}
	batches, err := inbox.NewConsumer(p.in, queues[0], handler, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Inbox, cfg.BatchSize = p.in, 0
	alone, err := inbox.NewConsumerFunc(queues[1], claiming, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, c := range []*inbox.Consumer{batches, alone} {
		go func() { done <- c.Run(ctx) }()
	}
	p.called["Consumer"], p.called["Inbox"] = []string{"Run"}, append(p.called["Inbox"], "Claim")
	for i, m := range events {
		msg := inbox.Message{ID: m.ID.String(), Topic: m.Topic, Key: m.Key, Payload: m.Payload}
		queues[i%2].Publish(msg, msg)
	}
	for _, q := range queues {
		q.WaitUntilEmpty(t)
	}
	p.call("Inbox", "Instances", func(ctx context.Context) error { _, err := p.in.Instances(ctx); return err })
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("Consumer.Run: %v", err)
		}
	}
	applied, first := 0, inbox.Message{ID: events[0].ID.String(), Topic: events[0].Topic, Payload: events[0].Payload}
	p.call("Inbox", "Once", func(ctx context.Context) error {
		for _, msg := range []inbox.Message{first, {ID: uuid.NewString(), Topic: "order.created"}} {
			if _, err := p.in.Once(ctx, msg, func(ctx context.Context, tx inbox.Tx) error {
				applied++
				_, err := tx.ExecContext(ctx, `INSERT INTO public.effects (event_id) VALUES ($1)`, msg.ID)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if applied != repeats {
		t.Errorf("Once has applied %d messages, want %d", applied, repeats)
	}
	inboxtest.RequireCount(t, p.db, len(events)+applied, `SELECT count(*) FROM public.effects`)
	inboxtest.RequireCount(t, p.db, len(events)+applied, `SELECT count(DISTINCT event_id) FROM public.effects`)
}
