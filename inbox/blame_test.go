package inbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// statement is a handler that does nothing else.
func statement(query string) inbox.Handler {
	return func(ctx context.Context, tx inbox.Tx, _ inbox.Message) error {
		_, err := tx.ExecContext(ctx, query)
		return err
	}
}

// mishandlings are handlers at fault, in ways that look like the database's.
func mishandlings(db *sqlx.DB) map[string]inbox.Handler {
	handlers := map[string]inbox.Handler{
		"leaves a constraint broken at commit": statement(`INSERT INTO effect_details VALUES (-1)`),
		"violates a constraint":                statement(`INSERT INTO effects (event_id) VALUES (NULL)`),
		"takes too long elsewhere": func(ctx context.Context, _ inbox.Tx, _ inbox.Message) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
	switch dialect(db) {
	case inbox.PostgreSQL:
		handlers["takes too long"] = statement(`SELECT pg_sleep(3600)`)
		handlers["always loses the connection"] = statement(`SELECT pg_terminate_backend(pg_backend_pid())`)
		handlers["always deadlocks"] = statement(`DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$`)
		handlers["swallows an error that aborted the transaction"] = func(ctx context.Context, tx inbox.Tx, _ inbox.Message) error {
			_, _ = tx.ExecContext(ctx, `SELECT 1/0`)
			return nil
		}
	case inbox.SQLite:
		handlers["takes too long"] = statement(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`)
		handlers["ends the transaction"] = statement(`INSERT OR ROLLBACK INTO effects (event_id) VALUES (NULL)`)
		handlers["swallows an error that ended the transaction"] = func(ctx context.Context, tx inbox.Tx, _ inbox.Message) error {
			_, _ = tx.ExecContext(ctx, `INSERT OR ROLLBACK INTO effects (event_id) VALUES (NULL)`)
			return nil
		}
		handlers["writes beside its own transaction"] = func(ctx context.Context, _ inbox.Tx, msg inbox.Message) error {
			conn, err := db.Connx(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.ExecContext(ctx, `PRAGMA busy_timeout = 1; INSERT INTO effects (event_id, key) VALUES ('beside', '')`)
			return err
		}
	}
	return handlers
}

// TestConsumerHandlerFaults: errors that look like the database's fault and are
// the handler's must not hold up a worker for ever, nor count against other
// messages.
func TestConsumerHandlerFaults(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		mustExec(t, db, `CREATE TABLE effect_details (n bigint REFERENCES effects (n) DEFERRABLE INITIALLY DEFERRED)`)
		for name, mishandle := range mishandlings(db) {
			t.Run(name, func(t *testing.T) {
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				q := inboxtest.NewQueue()
				msgs := events(7, 1)
				q.Publish(msgs...)
				handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
					if msg.ID == msgs[3].ID {
						return mishandle(ctx, tx, msg)
					}
					return record(ctx, tx, msg)
				}
				kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1, HandlerTimeout: 2 * time.Second})
				q.WaitUntilEmpty(t)
				wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
				dead := q.DeadLetters()
				if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID || dead[0].Reason != inbox.ReasonHandler {
					t.Errorf("dead letters %+v, want %s alone", dead, msgs[3].ID)
				}
			})
		}
	})
}

// TestConsumerFullDisk: a handler needs more disk than there is. Its messages are
// held until there is room again, and no attempt is counted.
func TestConsumerFullDisk(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			in, db := newInbox(t, sqliteFile(t))
			db.SetMaxOpenConns(1) // a PRAGMA is the connection's
			mustExec(t, db, `PRAGMA max_page_count = 1`)
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				msg.Key = strings.Repeat("x", 1<<20)
				return record(ctx, tx, msg)
			}
			q := inboxtest.NewQueue()
			q.Publish(events(3, 1)...)
			c := kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1, Retention: inbox.KeepForever})
			eventually(t, "the worker to hold", func() bool { return c.Health().Held == 1 })
			if err := c.Health().LastError; err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("health says %v", err)
			}
			mustExec(t, db, `PRAGMA max_page_count = 1000000`)
			q.WaitUntilEmpty(t)
			wantOnce(t, db, events(3, 1))
		})
	}
}

// The schema on SQLite refuses values that the types of PostgreSQL refuse.
func TestSQLiteSchemaConstraints(t *testing.T) {
	_, db := newInbox(t, sqliteFile(t))
	insert := func(id any, hash, occurredAt any) error {
		_, err := db.ExecContext(t.Context(), `INSERT INTO processed_events (consumer, event_id, payload_hash, occurred_at)
			VALUES ('notifications', $1, $2, $3)`, id, hash, occurredAt)
		return err
	}
	hash := make([]byte, 32)
	for _, odd := range []struct{ id, hash, occurredAt any }{
		{nil, hash, nil}, {"", hash, nil}, {strings.Repeat("ü", 128), hash, nil},
		{"a", nil, nil}, {"a", hash[:31], nil}, {"a", strings.Repeat("x", 32), nil},
		{"a", hash, "soon"}, {"a", hash, "2026-02-03T04:05:06.000000"}, {"a", hash, "2026-02-03 04:05:06"},
		{"a", hash, "2026-02-03 04:05:06.000"}, {"a", hash, "2026-13-03 04:05:06.000000"}, {"a", hash, 1767225600},
	} {
		if err := insert(odd.id, odd.hash, odd.occurredAt); sqldb.Judge(err) != sqldb.BadData {
			t.Errorf("%v: %v, want a broken constraint", odd, err)
		}
	}
	if err := insert("a", hash, "2026-02-03 04:05:06.000000"); err != nil {
		t.Error(err)
	}
}
