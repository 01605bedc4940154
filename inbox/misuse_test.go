package inbox_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// eachDriver runs test once with each driver, on an empty database of its own.
func eachDriver(t *testing.T, test func(t *testing.T, in *inbox.Inbox, db *sqlx.DB)) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		test(t, in, db)
	})
	t.Run("lib pq", func(t *testing.T) {
		in, db := newPQInbox(t, testenv.Postgres(t))
		test(t, in, db)
	})
}

// newPQInbox is newInbox through lib/pq.
func newPQInbox(t *testing.T, raw string) (*inbox.Inbox, *sqlx.DB) {
	t.Helper()
	newInbox(t, raw)
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "disable")
	q.Set("application_name", t.Name())
	u.RawQuery = q.Encode()
	db, err := sqlx.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	return in, db
}

// eachBatch runs test with every message alone and with batches.
func eachBatch(t *testing.T, db *sqlx.DB, test func(t *testing.T, size int)) {
	for _, size := range []int{1, 100} {
		t.Run(fmt.Sprintf("batches of %d", size), func(t *testing.T) {
			mustExec(t, db, `DELETE FROM effects`)
			mustExec(t, db, `DELETE FROM processed_events`)
			test(t, size)
		})
	}
}

// careless wraps a misuse whose error nobody looks at.
func careless(use func(ctx context.Context, tx inbox.Tx)) inbox.Handler {
	return func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if err := record(ctx, tx, msg); err != nil {
			return err
		}
		use(ctx, tx)
		_ = record(ctx, tx, msg)
		return nil
	}
}

func sends(query string) inbox.Handler {
	return careless(func(ctx context.Context, tx inbox.Tx) { _, _ = tx.ExecContext(ctx, query) })
}

// endings are handlers that would end their transaction and say nothing of it.
func endings(db *sqlx.DB) map[string]inbox.Handler {
	handlers := map[string]inbox.Handler{
		"commit":             sends(`COMMIT`),
		"rollback":           sends(`ROLLBACK`),
		"script":             sends(`BEGIN; INSERT INTO effects (event_id, key) VALUES ('script', ''); COMMIT;`),
		"behind a comment":   sends("/* nothing to do */ -- really\n END"),
		"behind a statement": sends(`INSERT INTO effects (event_id, key) VALUES ('a;b', ''); COMMIT`),
		"begin":              sends(`BEGIN`),
		"commit by a query": careless(func(ctx context.Context, tx inbox.Tx) {
			if rows, err := tx.QueryContext(ctx, `COMMIT`); err == nil {
				rows.Close()
			}
		}),
		"commit by a row": careless(func(ctx context.Context, tx inbox.Tx) {
			var n int
			_ = tx.QueryRowContext(ctx, `ROLLBACK`).Scan(&n)
			_ = tx.GetContext(ctx, &n, `COMMIT`)
		}),
		"commit prepared": careless(func(ctx context.Context, tx inbox.Tx) {
			if stmt, err := tx.PrepareContext(ctx, `COMMIT`); err == nil {
				_, _ = stmt.ExecContext(ctx)
			}
		}),
		"commit by name": careless(func(ctx context.Context, tx inbox.Tx) {
			_, _ = tx.NamedExecContext(ctx, `COMMIT /* :event */`, map[string]any{"event": "x"})
			if stmt, err := tx.PrepareNamedContext(ctx, `ROLLBACK`); err == nil {
				_, _ = stmt.ExecContext(ctx, map[string]any{})
			}
		}),
	}
	if dialect(db) == inbox.PostgreSQL {
		handlers["chain"] = sends(`COMMIT AND CHAIN`)
		handlers["abort"] = sends(`ABORT`)
		handlers["start"] = sends(`START TRANSACTION`)
		handlers["two phases"] = sends(`PREPARE TRANSACTION 'culprit'`)
		handlers["escaped"] = sends(`SELECT E'\'', '\'; COMMIT; --'`)
	}
	return handlers
}

// TestTxRefusesEnd: statements that end the transaction are refused, the handler
// fails whatever it returns, and other messages are not affected.
func TestTxRefusesEnd(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for name, end := range endings(db) {
			t.Run(name, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) { wantCulprit(t, in, db, size, end, "was refused") })
			})
		}
	})
}

// wantCulprit runs seven messages of which one is handled by misuse, and fails t
// unless that one alone is a dead letter, with a text, and all others are
// applied once.
func wantCulprit(t *testing.T, in *inbox.Inbox, db *sqlx.DB, size int, misuse inbox.Handler, text string) {
	t.Helper()
	msgs := events(7, 1)
	culprit := msgs[3].ID
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if msg.ID == culprit {
			return misuse(ctx, tx, msg)
		}
		return record(ctx, tx, msg)
	}
	q := inboxtest.NewQueue()
	q.Publish(msgs...)
	consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: 2, HandlerTimeout: time.Second})
	q.WaitUntilEmpty(t)
	wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
	dead := q.DeadLetters()
	if len(dead) != 1 || dead[0].Delivery.Message.ID != culprit || dead[0].Reason != inbox.ReasonHandler {
		t.Fatalf("dead letters %+v, want %s alone", dead, culprit)
	}
	if !strings.Contains(dead[0].Err.Error(), text) {
		t.Errorf("the dead letter says %q, want %q in it", dead[0].Err, text)
	}
	if retried := q.Settled(inbox.ActionRetry); len(retried) != 1 || retried[0].Delivery.Message.ID != culprit {
		t.Errorf("retried %+v, want %s once", retried, culprit)
	}
}

// TestOnceRefusesEnd: nothing is applied, so the next copy is
// not a duplicate.
func TestOnceRefusesEnd(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for name, end := range endings(db) {
			t.Run(name, func(t *testing.T) {
				for range 2 {
					_, err := in.Once(t.Context(), event(1), func(ctx context.Context, tx inbox.Tx) error { return end(ctx, tx, event(1)) })
					if err == nil || !strings.Contains(err.Error(), "was refused") {
						t.Fatalf("Once: %v, want a refusal", err)
					}
				}
				inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM effects`)
				inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
			})
		}
	})
}

// Handlers may use savepoints, and handle errors by rolling back to them.
func TestTxAllowsSavepoints(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		eachBatch(t, db, func(t *testing.T, size int) {
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				for _, query := range []string{
					`SAVEPOINT a`, `INSERT INTO effects (event_id, key) VALUES ('undone', '')`,
					`INSERT INTO effects (event_id) VALUES (NULL)`, `ROLLBACK TO SAVEPOINT a`, `RELEASE SAVEPOINT a`,
				} {
					if _, err := tx.ExecContext(ctx, query); err != nil && !strings.Contains(query, "NULL") {
						return err
					}
				}
				return record(ctx, tx, msg)
			}
			q := inboxtest.NewQueue()
			q.Publish(events(7, 1)...)
			consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			wantOnce(t, db, events(7, 1))
		})
	})
}

// TestTxSwallowedErrors: the transaction is aborted, on SQLite even ended, and the
// handler returns nil.
func TestTxSwallowedErrors(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		statement := `SELECT 1/0`
		if dialect(db) == inbox.SQLite {
			statement = `INSERT OR ROLLBACK INTO effects (event_id) VALUES (NULL)`
		}
		for name, swallow := range map[string]inbox.Handler{
			"of a statement": sends(statement),
			"of a row": careless(func(ctx context.Context, tx inbox.Tx) {
				var n int
				_ = tx.QueryRowContext(ctx, statement+` RETURNING 1`).Scan(&n)
				_ = tx.QueryRowContext(ctx, statement).Scan(&n)
			}),
			"of a prepared statement": careless(func(ctx context.Context, tx inbox.Tx) {
				stmt, err := tx.PrepareContext(ctx, strings.Replace(statement, "NULL", "$1", 1))
				if err != nil {
					return
				}
				if dialect(db) == inbox.SQLite {
					_, _ = stmt.ExecContext(ctx, nil)
				} else {
					_, _ = stmt.ExecContext(ctx)
				}
				insert, err := tx.PrepareContext(ctx, `INSERT INTO effects (event_id, key) VALUES ('beside', '')`)
				if err == nil {
					_, _ = insert.ExecContext(ctx)
				}
			}),
		} {
			t.Run(name, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) { wantCulprit(t, in, db, size, swallow, "error") })
			})
		}
	})
}

// TestTxDeletedClaims: a handler deletes rows of processed_events.
func TestTxDeletedClaims(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for name, query := range map[string]string{
			"all": `DELETE FROM processed_events`, "its own": `DELETE FROM processed_events WHERE event_id = 'event-00003'`,
		} {
			t.Run(name, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) {
					wantCulprit(t, in, db, size, sends(query), "claims were deleted")
				})
			})
		}
	})
}
