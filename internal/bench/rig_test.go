package bench

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// The messages of all benchmarks.
const (
	topic     = "order.created"
	bodyBytes = 512
)

// many is n, and a tenth of it with -short: for profiles, and for ratios on a busy
// machine.
func many(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// patience limits every wait of a benchmark.
const patience = 5 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// forQueueTypes runs a benchmark for both types of queue.
func forQueueTypes(b *testing.B, run func(*testing.B, inboxrabbit.QueueType)) {
	for _, queueType := range []inboxrabbit.QueueType{inboxrabbit.Classic, inboxrabbit.Quorum} {
		b.Run(queueType.String(), func(b *testing.B) { run(b, queueType) })
	}
}

// newMessages returns n messages, each with its own key. Bodies do not
// compress.
func newMessages(n int) []outbox.Message {
	source := rand.NewChaCha8([32]byte{})
	msgs := make([]outbox.Message, n)
	for i := range msgs {
		body := make([]byte, bodyBytes)
		_, _ = source.Read(body) // never fails
		msgs[i] = outbox.NewMessage(topic, body)
		msgs[i].Key = msgs[i].ID.String()
	}
	return msgs
}

// openDB returns a pool on a new, empty database.
func openDB(b *testing.B) *sqlx.DB {
	b.Helper()
	db, err := postgres.Open(postgres.Config{URL: testenv.Postgres(b), Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := db.GetContext(b.Context(), &value, "SELECT current_setting($1)", setting); err != nil {
			b.Fatal(err)
		}
		if value != "on" {
			b.Fatalf("%s is %s: results of a server that may lose committed data are meaningless", setting, value)
		}
	}
	return db
}

func mustExec(b *testing.B, db *sqlx.DB, query string, args ...any) {
	b.Helper()
	if _, err := db.ExecContext(b.Context(), query, args...); err != nil {
		b.Fatal(err)
	}
}

// wantCount fails the benchmark if the work was not done.
func wantCount(b *testing.B, db *sqlx.DB, want int, query string) {
	b.Helper()
	var n int
	if err := db.GetContext(b.Context(), &n, query); err != nil {
		b.Fatal(err)
	}
	if n != want {
		b.Fatalf("%s: %d, want %d", query, n, want)
	}
}

func newOutbox(b *testing.B) (*outbox.Outbox, *sqlx.DB) {
	b.Helper()
	db := openDB(b)
	ob, err := outbox.New(db)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := ob.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return ob, db
}

// enqueue stores msgs in transactions of size messages.
func enqueue(b *testing.B, ob *outbox.Outbox, db *sqlx.DB, msgs []outbox.Message, size int) {
	b.Helper()
	for batch := range slices.Chunk(msgs, size) {
		if err := enqueueOnce(b.Context(), ob, db, batch); err != nil {
			b.Fatal(err)
		}
	}
}

func enqueueOnce(ctx context.Context, ob *outbox.Outbox, db *sqlx.DB, msgs []outbox.Message) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after a commit
	if err := ob.Enqueue(ctx, tx, msgs...); err != nil {
		return err
	}
	return tx.Commit()
}

// newPublisher returns a publisher that is connected. stall is its StallTimeout:
// longer than the default where a busy machine must not make it repeat messages.
func newPublisher(b *testing.B, url, exchange string, stall time.Duration) *outboxrabbit.Publisher {
	b.Helper()
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: url, Exchange: exchange, Producer: "bench", StallTimeout: stall, ConfirmTimeout: max(stall, time.Minute), Logger: quiet,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	testenv.Eventually(b, patience, "the publisher's connection", func() bool { up, _ := p.Health(); return up })
	return p
}

func newRelay(b *testing.B, ob *outbox.Outbox, p outbox.Publisher, cfg outbox.RelayConfig) *outbox.Relay {
	b.Helper()
	cfg.Logger = quiet
	relay, err := outbox.NewRelay(ob, p, cfg)
	if err != nil {
		b.Fatal(err)
	}
	return relay
}

// newInbox returns an inbox and a table for effects. The table has no unique
// key on events, so that an event applied twice shows.
func newInbox(b *testing.B) (*inbox.Inbox, *sqlx.DB) {
	b.Helper()
	db := openDB(b)
	in, err := inbox.New(db, "bench")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := in.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	mustExec(b, db, `CREATE TABLE effects (n bigserial PRIMARY KEY, event_id text NOT NULL)`)
	return in, db
}

// apply is a handler with an effect of one row.
func apply(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id) VALUES ($1)`, msg.ID)
	return err
}

// newSource returns a source on an existing queue.
func newSource(b *testing.B, url, queue string) *inboxrabbit.Source {
	b.Helper()
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{URL: url, Queue: queue, Topology: inboxrabbit.None, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { source.Close() })
	return source
}

func newConsumer(b *testing.B, in *inbox.Inbox, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) *inbox.Consumer {
	b.Helper()
	cfg.Logger = quiet
	consumer, err := inbox.NewConsumer(in, s, h, cfg)
	if err != nil {
		b.Fatal(err)
	}
	return consumer
}

// start runs a relay or consumer until stop is called, or the benchmark ends.
func start(b *testing.B, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("run: %v", err)
		}
	})
	b.Cleanup(stop)
	return stop
}

// rates are messages per second, one for each measurement.
type rates []float64

// measure times do, which handles n messages.
func (r *rates) measure(n int, do func()) {
	began := time.Now()
	do()
	*r = append(*r, float64(n)/time.Since(began).Seconds())
}

// report reports the median and logs every measurement, which shows other load
// on the machine.
func (r rates) report(b *testing.B, name string) {
	b.ReportMetric(median(r), name+"-msgs/s")
	b.Logf("%s: %.0f messages/s", name, r)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// hideTime removes the time of an operation, which includes preparations, from
// the report.
func hideTime(b *testing.B) { b.ReportMetric(0, "ns/op") }
