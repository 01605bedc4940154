package pgxtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/pgxtx"
)

// open returns a pool, and the outbox of its database.
func open(t *testing.T, url string, mode pgx.QueryExecMode) (*pgxpool.Pool, *outbox.Outbox) {
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
	ob, err := outbox.New(sqlx.NewDb(db, "pgx"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pool, ob
}

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			pool, ob := open(t, url, mode)
			topic := mode.String()
			enqueue := func(tx pgx.Tx, id string) outbox.Message {
				t.Helper()
				msg := outbox.NewMessage(topic, []byte(`{"\u0000": "`+id+`"}`))
				msg.Key, msg.Headers, msg.AvailableAt = "order-1", map[string]string{"tenant": "acme"}, time.Now().Add(time.Hour)
				if err := ob.Enqueue(t.Context(), pgxtx.Tx(tx), msg); err != nil {
					t.Fatal(err)
				}
				return msg
			}
			var committed outbox.Message
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				committed = enqueue(tx, "committed")
				gone := errors.New("gone")
				err := pgx.BeginFunc(t.Context(), tx, func(savepoint pgx.Tx) error {
					enqueue(savepoint, "behind a savepoint that is rolled back")
					return gone
				})
				if !errors.Is(err, gone) {
					return err
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			enqueue(tx, "rolled back")
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			page, err := ob.List(t.Context(), outbox.ListQuery{Topic: topic})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) != 1 || page.Records[0].ID != committed.ID {
				t.Fatalf("%d rows, want the one committed: %+v", len(page.Records), page.Records)
			}
			got, err := ob.Get(t.Context(), committed.ID)
			if err != nil || string(got.Payload) != string(committed.Payload) || got.Headers["tenant"] != "acme" || got.Key != "order-1" ||
				got.AvailableAt.Sub(committed.AvailableAt).Abs() > time.Millisecond {
				t.Errorf("%+v, %v; want %+v", got, err, committed)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	pool, ob := open(t, testenv.Postgres(t), pgx.QueryExecModeCacheStatement)
	if err := ob.Enqueue(t.Context(), pgxtx.Tx(nil), outbox.NewMessage("a", nil)); !errors.Is(err, outbox.ErrNoTransaction) {
		t.Errorf("no transaction: %v, want ErrNoTransaction", err)
	}
	msg := outbox.NewMessage("order.created", []byte("{}"))
	twice := func() error {
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return ob.Enqueue(t.Context(), pgxtx.Tx(tx), msg) })
	}
	if err := twice(); err != nil {
		t.Fatal(err)
	}
	if err := twice(); !errors.Is(err, outbox.ErrDuplicateID) {
		t.Errorf("the same id again: %v, want ErrDuplicateID", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return ob.Enqueue(ended, pgxtx.Tx(tx), outbox.NewMessage("a", nil)) }); !errors.Is(err, context.Canceled) {
		t.Errorf("context has ended: %v, want context.Canceled", err)
	}
}
