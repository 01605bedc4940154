package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
)

const patience = time.Minute

// billing is a user's service: invoices are sent, and booked.
type billing struct {
	t                        *testing.T
	env                      map[string]string
	invoices, bookings       *sqlx.DB
	outbox                   *outbox.Outbox
	inbox                    *inbox.Inbox
	gate                     atomic.Pointer[chan struct{}] // handlers wait until it is closed
	fail                     atomic.Bool                   // handlers fail
	entered                  atomic.Int64                  // handlers that have begun
	queue, exchange, brokers string
}

const invoiceSent = "invoice.sent"

func newBilling(t *testing.T, outboxURL, inboxURL, amqpURL string) *billing {
	t.Helper()
	b := &billing{t: t, queue: testenv.UniqueName(t, "billing"), exchange: testenv.UniqueName(t, "events"), brokers: amqpURL,
		env: map[string]string{"PULSE_OUTBOX_DB": outboxURL, "PULSE_INBOX_DB": inboxURL, "PULSE_AMQP_URL": amqpURL, "PULSE_STATE_DIR": t.TempDir(), "PULSE_CONSUMER": "billing"}}
	close(b.shut())
	b.invoices, b.bookings = b.open(outboxURL), b.open(inboxURL)
	var err error
	b.outbox, err = outbox.New(b.invoices)
	b.must(err)
	b.inbox, err = inbox.New(b.bookings, "billing")
	b.must(err)
	_, err = b.outbox.Migrate(t.Context())
	b.must(err)
	_, err = b.inbox.Migrate(t.Context())
	b.must(err)
	b.exec(b.invoices, `CREATE TABLE invoices (event_id text NOT NULL)`)
	b.exec(b.bookings, `CREATE TABLE bookings (event_id text NOT NULL)`)
	return b
}

func (b *billing) open(url string) *sqlx.DB {
	b.t.Helper()
	db, _, err := database.Open(url, "test")
	b.must(err)
	b.t.Cleanup(func() { db.Close() })
	return db
}

func (b *billing) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *billing) exec(db *sqlx.DB, query string, args ...any) {
	b.t.Helper()
	_, err := db.ExecContext(b.t.Context(), query, args...)
	b.must(err)
}

// run starts relay and consumer, which end with the test.
func (b *billing) run() {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{URL: b.brokers, Queue: b.queue, Exchange: b.exchange, Topics: []string{invoiceSent},
		RetryDelays: []time.Duration{20 * time.Millisecond, time.Hour}, Logger: log})
	b.must(err)
	consumer, err := inbox.NewConsumerFunc(source, b.book, inbox.ConsumerConfig{Inbox: b.inbox, Logger: log, Backoff: func(int) time.Duration { return time.Hour }})
	b.must(err)
	publisher, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{URL: b.brokers, Exchange: b.exchange, Producer: "invoices", Logger: log})
	b.must(err)
	relay, err := outbox.NewRelay(b.outbox, publisher, outbox.RelayConfig{Logger: log})
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{consumer.Run, relay.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				b.t.Error(err)
			}
		})
	}
	b.t.Cleanup(func() {
		cancel()
		running.Wait()
		b.must(errors.Join(source.Close(), publisher.Close()))
	})
	testenv.Eventually(b.t, patience, "the consumer to report", func() bool {
		instances, err := b.inbox.Instances(ctx)
		b.must(err)
		return len(instances) == 1 && instances[0].Subscribed
	})
}

// shut makes handlers wait until the channel is closed.
func (b *billing) shut() (gate chan struct{}) {
	gate = make(chan struct{})
	b.gate.Store(&gate)
	return gate
}

// book is the handler.
func (b *billing) book(ctx context.Context, msg inbox.Message) error {
	b.entered.Add(1)
	<-*b.gate.Load()
	if b.fail.Load() {
		return errors.New("the comparison is closed")
	}
	_, err := b.inbox.Once(ctx, msg, func(ctx context.Context, tx inbox.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO bookings (event_id) VALUES ($1)`, msg.ID)
		return err
	})
	return err
}

// send commits an invoice with its event.
func (b *billing) send() (id string) {
	b.t.Helper()
	msg := outbox.NewMessage(invoiceSent, []byte(`{}`))
	tx, err := b.invoices.BeginTxx(b.t.Context(), nil)
	b.must(err)
	defer tx.Rollback()
	_, err = tx.ExecContext(b.t.Context(), `INSERT INTO invoices (event_id) VALUES ($1)`, msg.ID.String())
	b.must(err)
	b.must(b.outbox.Enqueue(b.t.Context(), tx, msg))
	b.must(tx.Commit())
	return msg.ID.String()
}

// pulsectl runs a command and returns its output.
func (b *billing) pulsectl(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	c := &console.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now}
	getenv := func(name string) string { return b.env[name] }
	c.SetColor(console.ColorNever, getenv)
	for name, value := range b.env {
		b.t.Setenv(name, value) // urfave/cli asks the process for those it knows
	}
	code = Run(b.t.Context(), append([]string{"pulsectl"}, args...), c, getenv)
	return code, out.String(), errs.String()
}

type verdict struct {
	Verdict  string
	Compared int
	InFlight int
	Missing  int
	Lost     int
	Waiting  []string
}

// verify wants this exit code and this verdict.
func (b *billing) verify(code int, want string, args ...string) verdict {
	b.t.Helper()
	args = append([]string{"verify", "--topic", invoiceSent, "--orders-table", "invoices.event_id", "--effects-table", "bookings.event_id", "-o", "json"}, args...)
	got, stdout, stderr := b.pulsectl(args...)
	var v verdict
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || got != code || v.Verdict != want {
		b.t.Fatalf("exit code %d, verdict %q, %v; want %d, %q\n%s%s", got, v.Verdict, err, code, want, stdout, stderr)
	}
	return v
}

// verify compares any service: its flags name the consumer, the topic and the
// tables, and it finds queue and retry queues by what the consumer records. A
// message in a handler or in a retry queue is never reported as lost.
func TestVerifyOtherService(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) *billing{
		"SQLite and the development broker": func(t *testing.T) *billing {
			dir := t.TempDir()
			return newBilling(t, sqlite.URL(filepath.Join(dir, "invoices.db")), sqlite.URL(filepath.Join(dir, "bookings.db")), devbroker.NewTest(t).URL())
		},
		"PostgreSQL and RabbitMQ": func(t *testing.T) *billing {
			return newBilling(t, testenv.Postgres(t), testenv.Postgres(t), testenv.RabbitMQ(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			b.run()
			for range 5 {
				b.send()
			}
			if v := b.verify(0, "ok"); v.Compared != 5 || v.InFlight != 0 {
				t.Errorf("five invoices: %+v", v)
			}

			entered := b.entered.Load()
			gate := b.shut()
			b.send()
			testenv.Eventually(t, patience, "the handler to begin", func() bool { return b.entered.Load() > entered })
			v := b.verify(7, "not settled", "--timeout", "5s")
			if v.Missing != 1 || v.Lost != 0 || !strings.Contains(fmt.Sprint(v.Waiting), "holds 1") {
				t.Errorf("while a handler has it: %+v", v)
			}
			close(gate)
			b.verify(0, "ok")

			b.fail.Store(true)
			b.send()
			v = b.verify(7, "not settled", "--timeout", "5s")
			if v.Missing != 1 || v.InFlight != 1 || !strings.Contains(fmt.Sprint(v.Waiting), "1 wait for a retry") {
				t.Errorf("while it waits for a retry: %+v", v)
			}
			b.fail.Store(false)
			code, _, stderr := b.pulsectl("verify", "--topic", invoiceSent, "--queue", "billnig")
			if code != 4 || !strings.Contains(stderr, `consumer "billing" does not consume queue "billnig": it consumes `+b.queue) {
				t.Errorf("with a mistyped queue: %d %s", code, stderr)
			}
		})
	}
}
