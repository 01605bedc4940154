package pgxtx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/inbox/pgxtx"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// open returns a pool with a table for effects, and the inbox of its database.
func open(t *testing.T, mode pgx.QueryExecMode) (*pgxpool.Pool, *inbox.Inbox) {
	t.Helper()
	return openAt(t, testenv.Postgres(t), mode)
}

func openAt(t *testing.T, url string, mode pgx.QueryExecMode) (*pgxpool.Pool, *inbox.Inbox) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { db.Close() })
	in, err := inbox.New(sqlx.NewDb(db, "pgx"), "billing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `CREATE TABLE bookings (event_id text NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	return pool, in
}

func book(ctx context.Context, tx pgx.Tx, msg inbox.Message) error {
	_, err := tx.Exec(ctx, `INSERT INTO bookings (event_id) VALUES ($1)`, msg.ID)
	return err
}

func bookings(t *testing.T, pool *pgxpool.Pool, id string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM bookings WHERE event_id = $1`, id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func event(id string) inbox.Message {
	return inbox.Message{ID: id, Topic: "invoice.sent", Type: "InvoiceSent", Payload: []byte(`{}`)}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool, in := open(t, mode)
			claim := func(msg inbox.Message) (fresh bool, err error) {
				err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					fresh, err = in.Claim(t.Context(), pgxtx.Tx(tx), msg)
					return err
				})
				return fresh, err
			}
			for i, want := range []bool{true, false} {
				if fresh, err := claim(event("event-1")); err != nil || fresh != want {
					t.Errorf("claim %d: %t, %v, want %t", i, fresh, err, want)
				}
			}
			other := event("event-1")
			other.Payload = []byte(`[]`)
			if _, err := claim(other); !errors.Is(err, inbox.ErrConflict) {
				t.Errorf("another payload: %v, want ErrConflict", err)
			}
			if record, err := in.Get(t.Context(), "event-1"); err != nil || record.EventID != "event-1" {
				t.Errorf("%+v, %v", record, err)
			}
		})
	}
	_, in := open(t, pgx.QueryExecModeCacheStatement)
	if _, err := in.Claim(t.Context(), pgxtx.Tx(nil), event("event-1")); !errors.Is(err, inbox.ErrNoTransaction) {
		t.Errorf("no transaction: %v, want ErrNoTransaction", err)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	pool, in := open(t, pgx.QueryExecModeCacheStatement)
	var mu sync.Mutex
	runs := make(map[string]int)
	handle := func(ctx context.Context, tx pgx.Tx, msg inbox.Message) error {
		mu.Lock()
		runs[msg.ID]++
		run := runs[msg.ID]
		mu.Unlock()
		if err := book(ctx, tx, msg); err != nil {
			return err
		}
		switch {
		case msg.ID == "fails" && run == 1:
			return errors.New("not yet")
		case msg.ID == "panics" && run == 1:
			panic("not yet")
		case msg.ID == "commits":
			return tx.Commit(ctx)
		}
		return nil
	}
	q := inboxtest.NewQueue()
	consumer := consume(t, in, q, pgxtx.Apply(in, pool, handle), 3)
	ids := []string{"plain", "fails", "panics"}
	for range 2 {
		for _, id := range ids {
			q.Publish(event(id))
		}
	}
	q.WaitUntilEmpty(t)
	for _, id := range ids {
		if n := bookings(t, pool, id); n != 1 {
			t.Errorf("%s: %d bookings, want 1", id, n)
		}
	}
	testenv.Eventually(t, time.Minute, "the copies to be counted", func() bool { return consumer.Health().Duplicates == 3 })
	if want := fmt.Sprint(map[string]int{"plain": 1, "fails": 2, "panics": 2}); fmt.Sprint(runs) != want {
		t.Errorf("runs %v, want %s", runs, want)
	}

	// One that ends the transaction itself has its error retried, and by then it
	// is a duplicate: claim and effect were committed together.
	q.Publish(event("commits"))
	q.WaitUntilEmpty(t)
	if n := bookings(t, pool, "commits"); n != 1 {
		t.Errorf("commits: %d bookings, want 1", n)
	}
}

// consume runs a consumer of in until the test ends.
func consume(t *testing.T, in *inbox.Inbox, q *inboxtest.Queue, fn func(context.Context, inbox.Message) error, maxAttempts int) *inbox.Consumer {
	t.Helper()
	consumer, err := inbox.NewConsumerFunc(q, fn, inbox.ConsumerConfig{
		Inbox: in, Backoff: func(int) time.Duration { return time.Millisecond }, MaxAttempts: maxAttempts,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return consumer
}

// TestApplyDuringAnOutage: the pool's connections die under the handlers, and
// the database is away for a while. No message pays for it.
func TestApplyDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	pool, in := openAt(t, server.URL(), pgx.QueryExecModeCacheStatement)
	q := inboxtest.NewQueue()
	const n = 600
	for i := range n / 2 {
		q.Publish(event(fmt.Sprint("event-", i)))
	}
	consumer := consume(t, in, q, pgxtx.Apply(in, pool, book), 1)
	q.WaitFor(t, "some messages to be applied", func() bool { return len(q.Acked()) > 50 })
	server.StopImmediate()
	for i := n / 2; i < n; i++ {
		q.Publish(event(fmt.Sprint("event-", i)))
	}
	testenv.Eventually(t, time.Minute, "workers to hold", func() bool { return consumer.Health().Held > 0 })
	server.Start()
	q.WaitUntilEmpty(t)
	var total, distinct int
	if err := pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT event_id) FROM bookings`).Scan(&total, &distinct); err != nil {
		t.Fatal(err)
	}
	if total != n || distinct != n {
		t.Errorf("%d bookings of %d events, want %d of each", total, distinct, n)
	}
	if paid := q.Settled(inbox.ActionRetry, inbox.ActionDeadLetter, inbox.ActionRequeue); len(paid) > 0 {
		t.Errorf("%d messages paid for the outage, such as %+v", len(paid), paid[0])
	}
}
