package inbox_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// TestConsumerIdleTransaction: the database ends a transaction in
// which a handler does something else for long. It runs about as often as
// MaxAttempts says, the other messages hardly more than once, and the error says
// why.
func TestConsumerIdleTransaction(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		if dialect(db) == inbox.SQLite {
			t.Skip("SQLite has no such limit")
		}
		mustExec(t, db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = 200', current_database()); END $$`)
		db.SetMaxIdleConns(0) // connections from before have no limit
		db.SetMaxIdleConns(4)
		for name, writes := range map[string]bool{"writes afterwards": true, "does nothing more": false} {
			t.Run(name, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) {
					msgs := events(7, 1)
					runs := calls{}
					handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
						runs.add(msg.ID)
						if msg.ID == msgs[3].ID {
							idleTooLong(ctx, t, db, tx)
							if !writes {
								return nil
							}
						}
						return record(ctx, tx, msg)
					}
					q := inboxtest.NewQueue()
					q.Publish(msgs...)
					const attempts = 3
					_, log := consumeLogged(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: attempts})
					q.WaitUntilEmpty(t)
					wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
					dead := q.DeadLetters()
					if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID {
						t.Fatalf("dead letters %+v, want %s alone", dead, msgs[3].ID)
					}
					if idle, ok := errors.AsType[*inbox.IdleTransactionError](dead[0].Err); !ok || idle.Limit != 200*time.Millisecond {
						t.Errorf("the dead letter says %v, want an IdleTransactionError with its limit", dead[0].Err)
					}
					for _, m := range msgs {
						most := 2 // in the batch, and alone
						if m.ID == msgs[3].ID {
							most = attempts + 1
						}
						if n := runs.of(m.ID); n > most {
							t.Errorf("the handler of %s ran %d times, want %d at most", m.ID, n, most)
						}
					}
					if size > 1 && !strings.Contains(log.String(), "running its messages one by one") {
						t.Errorf("the log says nothing of reruns:\n%s", log)
					}
				})
			})
		}
	})
}

// idleTooLong does nothing in tx until the database has ended its session.
func idleTooLong(ctx context.Context, t *testing.T, db *sqlx.DB, tx interface {
	GetContext(ctx context.Context, dest any, query string, args ...any) error
}) {
	var pid int
	if err := tx.GetContext(ctx, &pid, `SELECT pg_backend_pid()`); err != nil {
		return // it has ended it already
	}
	eventually(t, "the database to end the session", func() bool {
		var there bool
		err := db.GetContext(ctx, &there, `SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $1`, pid)
		return err == nil && !there
	})
}

// TestNewConsumerFuncIdleTransaction: their driver may only say that the
// connection is gone.
func TestNewConsumerFuncIdleTransaction(t *testing.T) {
	t.Parallel()
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		if dialect(db) == inbox.SQLite {
			t.Skip("SQLite has no such limit")
		}
		mustExec(t, db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = 200', current_database()); END $$`)
		db.SetMaxIdleConns(0)
		var runs atomic.Int32
		handler := func(ctx context.Context, msg inbox.Message) error {
			err := claiming(in, db, func(tx *sqlx.Tx) error {
				runs.Add(1)
				idleTooLong(ctx, t, db, tx)
				return tx.Commit()
			})(ctx, msg)
			if err != nil {
				return inbox.Unavailable(err) // as if it were the database's fault
			}
			return nil
		}
		q := inboxtest.NewQueue()
		q.Publish(event(1))
		cfg.MaxAttempts = 3
		consumeFunc(t, q, handler, cfg)
		q.WaitUntilEmpty(t)
		if dead := q.DeadLetters(); len(dead) != 1 || !strings.Contains(dead[0].Err.Error(), "idle") || runs.Load() != 3 {
			t.Errorf("%d runs, dead letters %+v; want 3 and one that says why", runs.Load(), dead)
		}
	})
}

// TestConsumerHandlerAlwaysLosesConnection: losing the connection once is not the
// handler's fault, losing it each time is.
func TestConsumerHandlerAlwaysLosesConnection(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		if dialect(db) == inbox.SQLite {
			t.Skip("SQLite has no connections to lose")
		}
		eachBatch(t, db, func(t *testing.T, size int) {
			msgs := events(7, 1)
			runs := calls{}
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				runs.add(msg.ID)
				if msg.ID == msgs[3].ID {
					_, err := tx.ExecContext(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
					return err
				}
				return record(ctx, tx, msg)
			}
			q := inboxtest.NewQueue()
			q.Publish(msgs...)
			_, log := consumeLogged(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
			if dead := q.DeadLetters(); len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID {
				t.Errorf("dead letters %+v, want %s alone", dead, msgs[3].ID)
			}
			for _, m := range msgs {
				if n := runs.of(m.ID); m.ID != msgs[3].ID && n > 2 || n > 4 {
					t.Errorf("the handler of %s ran %d times", m.ID, n)
				}
			}
			if !strings.Contains(log.String(), "running it again") {
				t.Errorf("the log says nothing of reruns:\n%s", log)
			}
		})
	})
}
