package chaostest_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
	"github.com/asimalizada/pulse-events/pulsectl/chaostest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const queue = "order.created"

// shop is a producer and a consumer as users write them.
type shop struct {
	db     *sqlx.DB
	outbox *outbox.Outbox
	inbox  *inbox.Inbox
}

func newShop(t *testing.T) *shop {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &shop{db: db}
	if s.outbox, err = outbox.New(db); err != nil {
		t.Fatal(err)
	}
	if s.inbox, err = inbox.New(db, "mailer"); err != nil {
		t.Fatal(err)
	}
	_, err1 := s.outbox.Migrate(t.Context())
	_, err2 := s.inbox.Migrate(t.Context())
	_, err3 := db.Exec(`CREATE TABLE mails (event_id text NOT NULL)`)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var quiet = slog.New(slog.DiscardHandler)

// relay publishes. Its lease is short: services are stopped here, not killed.
func (s *shop) relay(ctx context.Context, amqpURL string) error {
	publisher, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: amqpURL, Producer: "shop", Heartbeat: time.Second, ConfirmTimeout: 3 * time.Second, Logger: quiet,
	})
	if err != nil {
		return err
	}
	defer publisher.Close()
	relay, err := outbox.NewRelay(s.outbox, publisher, outbox.RelayConfig{
		LeaseTTL: time.Second, Backoff: func(int) time.Duration { return 100 * time.Millisecond }, Logger: quiet,
	})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}

// consume applies events with a handler.
func (s *shop) consume(handler inbox.Handler) chaostest.Service {
	return func(ctx context.Context, amqpURL string) error {
		source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{
			URL: amqpURL, Queue: queue, RetryDelays: []time.Duration{100 * time.Millisecond}, Heartbeat: time.Second, Logger: quiet,
		})
		if err != nil {
			return err
		}
		defer source.Close()
		consumer, err := inbox.NewConsumer(s.inbox, source, handler, inbox.ConsumerConfig{
			Backoff: func(int) time.Duration { return 100 * time.Millisecond }, Logger: quiet,
		})
		if err != nil {
			return err
		}
		return consumer.Run(ctx)
	}
}

func (s *shop) place(ctx context.Context, n int) (string, error) {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }()
	msg := outbox.NewMessage(queue, fmt.Appendf(nil, `{"n":%d}`, n))
	msg.Key = fmt.Sprint("customer-", n%5)
	if err := s.outbox.Enqueue(ctx, tx, msg); err != nil {
		return "", err
	}
	return msg.ID.String(), tx.Commit()
}

func (s *shop) mails(ctx context.Context) (map[string]int, error) {
	var ids []string
	if err := s.db.SelectContext(ctx, &ids, `SELECT event_id FROM mails`); err != nil {
		return nil, err
	}
	count := make(map[string]int, len(ids))
	for _, id := range ids {
		count[id]++
	}
	return count, nil
}

func (s *shop) config(handler inbox.Handler) chaostest.Config {
	return chaostest.Config{
		Outbox: s.outbox, Queue: queue, Place: s.place, Effects: s.mails, Seed: 4, Duration: 3 * time.Second, Rate: 30, Settle: 2 * time.Minute,
		Services: map[string]chaostest.Service{"shop": s.relay, "mailer": s.consume(handler)},
	}
}

const insertMail = `INSERT INTO mails (event_id) VALUES ($1)`

func TestRun(t *testing.T) {
	s := newShop(t)
	chaostest.Run(t, s.config(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		_, err := tx.ExecContext(ctx, insertMail, msg.ID)
		return err
	}))
	mails, err := s.mails(t.Context())
	if err != nil || len(mails) == 0 {
		t.Errorf("%d events were applied (%v): nothing was tested", len(mails), err)
	}
}

// A handler that writes twice is found, and the failure says how to see it again.
func TestRunFindsSecondEffect(t *testing.T) {
	s := newShop(t)
	r := record(t, func(tb testing.TB) {
		c := s.config(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			_, err := tx.ExecContext(ctx, insertMail+`, ($1)`, msg.ID)
			return err
		})
		c.Duration = time.Second
		chaostest.Run(tb, c)
	})
	if !strings.Contains(r, "duplicated") || !strings.Contains(r, "PULSE_CHAOS_SEED=4") {
		t.Errorf("the failure is %q", r)
	}
}

func TestRunRequires(t *testing.T) {
	t.Setenv(chaostest.SeedVariable, "many")
	r := record(t, func(tb testing.TB) { chaostest.Run(tb, chaostest.Config{Rate: 5000}) })
	for _, want := range []string{"Services", "Outbox", "Queue", "Place", "Effects", "Rate", chaostest.SeedVariable} {
		if !strings.Contains(r, want) {
			t.Errorf("%q lacks %s", r, want)
		}
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// record returns how a test has failed.
func record(t *testing.T, test func(testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return strings.Join(r.failures, "\n")
}
