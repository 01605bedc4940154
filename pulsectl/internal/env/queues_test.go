package env

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// Only the management API shows what a tool holds of a classic queue.
func TestQueuesManagementUnacked(t *testing.T) {
	amqpURL, managementURL := testenv.RabbitMQ(t), testenv.Management(t)
	cfg := inboxrabbit.SourceConfig{URL: amqpURL, Queue: testenv.UniqueName(t, "order.created"), QueueType: inboxrabbit.Classic,
		RetryDelays: []time.Duration{time.Hour}, Logger: slog.New(slog.DiscardHandler)}
	declare(t, cfg)
	env := func(management string) *Env {
		return &Env{Getenv: func(string) string { return "" }, state: nil, stateDir: t.TempDir(),
			Flags: Settings{AMQPURL: amqpURL, ManagementURL: management, Queue: cfg.Queue, RetryDelays: "1h"}}
	}
	q, err := env(managementURL).Queues()
	if err != nil {
		t.Fatal(err)
	}

	conn, err := amqp.Dial(amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ch.Publish("", cfg.Queue, true, false, amqp.Publishing{}); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 2; {
		_, ok, err := ch.Get(cfg.Queue, false)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got++
		}
	}
	see := func(what string, want func(reconcile.Queues) bool) {
		t.Helper()
		testenv.Eventually(t, time.Minute, what, func() bool {
			seen, err := q.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return want(seen)
		})
	}
	see("two to be held", func(q reconcile.Queues) bool {
		return q.Ready == 1 && q.Unacked == 2 && q.UnackedLag > 0 && q.Holders == 0
	})
	if counts, err := q.CountsHolders(t.Context()); err != nil || counts {
		t.Errorf("a classic queue counts holders: %v, %v", counts, err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	see("none to be held", func(q reconcile.Queues) bool { return q.Ready == 3 && q.Unacked == 0 && len(q.Missing) == 0 })
	if names := q.Existing(t.Context(), nil); !slices.Contains(names, cfg.Queue) || slices.Contains(names, cfg.Queue+".dlq") {
		t.Errorf("queues %q", names)
	}

	wrong, err := url.Parse(managementURL)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword("nobody", "s3cret")
	if q, err = env(wrong.String()).Queues(); err != nil {
		t.Fatal(err)
	}
	_, err = q.Look(t.Context())
	if e := new(fail.Error); !errors.As(err, &e) || e.Kind != fail.Unreachable {
		t.Errorf("with another user: %v", err)
	}
	for _, bad := range []string{"127.0.0.1:15672", "ftp://host", "http://"} {
		if _, err := env(bad).Queues(); fail.From(err).Kind != fail.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Dead letters that another consumer takes while they are read prove nothing.
func TestQueuesDeadLettersInUse(t *testing.T) {
	cfg := inboxrabbit.SourceConfig{URL: testenv.RabbitMQ(t), Queue: testenv.UniqueName(t, "order.created"),
		RetryDelays: []time.Duration{time.Hour}, Logger: slog.New(slog.DiscardHandler)}
	declare(t, cfg)
	conn, err := amqp.Dial(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	letters := cfg.Queue + ".dlq"
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirm, err := ch.PublishWithDeferredConfirm("", letters, true, false, amqp.Publishing{MessageId: "e1"})
	if err != nil || !confirm.Wait() {
		t.Fatal(err)
	}
	if err := ch.Qos(1, 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume(letters, "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	confirm, err = ch.PublishWithDeferredConfirm("", letters, true, false, amqp.Publishing{MessageId: "e2"})
	if err != nil || !confirm.Wait() {
		t.Fatal(err)
	}
	err = queues.Reader{Source: cfg}.DeadLetters(t.Context(), func(d reconcile.DeadLetter) error {
		t.Errorf("read %s", d.ID)
		return nil
	})
	if !errors.Is(err, reconcile.ErrNotRead) {
		t.Errorf("beside a consumer: %v", err)
	}
}

// declare creates the queues as a source does.
func declare(t *testing.T, cfg inboxrabbit.SourceConfig) {
	t.Helper()
	source, err := inboxrabbit.NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := source.Consume(ctx, 1); err != nil {
		t.Error(err)
	}
	cancel()
	if err := source.Close(); err != nil {
		t.Error(err)
	}
}
