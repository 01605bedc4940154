package pgxtx_test

import (
	"context"
	"errors"
	"fmt"
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
	cfg, err := pgxpool.ParseConfig(testenv.Postgres(t))
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
	consumer, err := inbox.NewConsumerFunc(q, pgxtx.Apply(in, pool, handle), inbox.ConsumerConfig{
		ReportTo: in, Backoff: func(int) time.Duration { return time.Millisecond }, MaxAttempts: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
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
