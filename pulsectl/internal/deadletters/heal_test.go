package deadletters_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// consume runs a consumer whose handler is given, until the test ends.
func (r *rig) consume(handler inbox.Handler) *inbox.Inbox {
	t := r.t
	t.Helper()
	db, _, err := database.Open("sqlite://"+filepath.Join(t.TempDir(), "inbox.db"), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	in, err := inbox.New(db, "notifications")
	if err == nil {
		_, err = in.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg := r.queue.Source
	cfg.Topology, cfg.Consumer = inboxrabbit.Declare, "notifications"
	source, err := inboxrabbit.NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := inbox.NewConsumer(in, source, handler, inbox.ConsumerConfig{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, source.Close()); err != nil {
			t.Error(err)
		}
	})
	return in
}

// Healing goes on in waves while letters are applied, and ends at the first that fails
// again; the others have not moved.
func TestHeal(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		var sick atomic.Bool
		in := r.consume(func(_ context.Context, _ inbox.Tx, msg inbox.Message) error {
			if sick.Load() && msg.ID >= "event-005" {
				return inbox.DeadLetter(errors.New("mail server is full again"))
			}
			return nil
		})
		r.fill(30)
		conflict := letter(500)
		conflict.Headers["pulse-reason"] = "conflict"
		r.put(r.names.DeadLetters, amqp.Publishing{Body: []byte("no id")}, conflict)
		sick.Store(true)
		h := deadletters.Heal{Filter: deadletters.Filter{}, Timeout: patience, Applied: in.Applied}
		report, err := r.queue.Heal(t.Context(), h)
		if f := fail.From(err); err == nil || f.Kind != fail.General || !strings.Contains(err.Error(), "full again") {
			t.Errorf("%v", err)
		}
		// Waves of 1 and 2 are applied, that of 5 ends it.
		if len(report.Waves) != 3 || report.Sent != 8 || report.Applied < 3 || report.Applied > 5 || report.Relapsed() == 0 ||
			report.Left != 22 || report.Skipped != 2 || report.Relapses[0].Error != "mail server is full again" {
			t.Errorf("%+v", report)
		}
		sick.Store(false)
		var waves []int
		h.Progress = func(w deadletters.Wave) {
			if len(waves) < w.Number {
				waves = append(waves, w.Sent)
			}
		}
		// Those that failed again are among them, however far the first healing got with them.
		report, err = r.queue.Heal(t.Context(), h)
		if err != nil || report.Left != 0 || report.Skipped != 2 || report.Sent != report.Applied || !slices.Equal(waves[:4], []int{1, 2, 5, 10}) {
			t.Errorf("%+v, %v, waves %v", report, err, waves)
		}
		var all []string
		for n := range 30 {
			all = append(all, letter(n).MessageId)
		}
		if applied, err := in.Applied(t.Context(), all); err != nil || len(applied) != 30 {
			t.Errorf("%d applied, %v", len(applied), err)
		}
		r.awaitDepth(r.names.DeadLetters, 2)
	})
}

// A wave without an outcome ends the healing, and it is said that nobody consumes.
func TestHealWithoutConsumer(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(3)
		report, err := r.queue.Heal(t.Context(), deadletters.Heal{Timeout: 100 * time.Millisecond,
			Applied: func(context.Context, []string) (map[string]bool, error) { return nil, nil }})
		if f := fail.From(err); err == nil || f.Kind != fail.Timeout || report.Waiting != 1 || report.Left != 2 || !strings.Contains(f.Error(), "nobody consumes") {
			t.Errorf("%+v, %v", report, err)
		}
		r.awaitDepth(r.names.DeadLetters, 2)
		r.awaitDepth(r.names.Queue, 1)
	})
}
