package inbox_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// journal collects what is logged.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// consumeLogged is consume with a log that the test can read.
func consumeLogged(t *testing.T, in *inbox.Inbox, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) (*running, *journal) {
	t.Helper()
	return kinds["NewConsumer"].consumeLogged(t, in, nil, s, h, cfg)
}

func (kind newConsumer) consumeLogged(t *testing.T, in *inbox.Inbox, db *sqlx.DB, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) (*running, *journal) {
	t.Helper()
	log := &journal{}
	quiet(t, &cfg)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	c, err := kind(in, db, s, h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, c), log
}

// ways are how a handler may leave beside returning, by what is said of it.
func ways() map[string]func() {
	return map[string]func(){
		"panicked: out of stock":      func() { panic("out of stock") },
		"panicked: panic called with": func() { panic(nil) },
		"runtime.Goexit":              runtime.Goexit,
	}
}

// TestConsumerHandlerLeaves: a handler that does not return normally fails, and the
// worker goes on.
func TestConsumerHandlerLeaves(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for text, leave := range ways() {
			t.Run(text, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) {
					wantCulprit(t, in, db, size, careless(func(ctx context.Context, tx inbox.Tx) {
						leaveRowsOpen(ctx, tx)
						leave()
					}), text)
				})
			})
		}
	})
}

// leaveRowsOpen leaves everything open that can be.
func leaveRowsOpen(ctx context.Context, tx inbox.Tx) {
	const some = `SELECT n FROM effects UNION ALL SELECT 1 UNION ALL SELECT 2`
	if rows, err := tx.QueryContext(ctx, some); err == nil {
		rows.Next()
	}
}

// TestTxClosesRowsAndStatements: what a handler leaves open affects neither the next
// handler nor the commit.
func TestTxClosesRowsAndStatements(t *testing.T) {
	const some = `SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3`
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for name, leave := range map[string]func(ctx context.Context, tx inbox.Tx) error{
			"rows":         func(ctx context.Context, tx inbox.Tx) error { _, err := tx.QueryContext(ctx, some); return err },
			"rows of sqlx": func(ctx context.Context, tx inbox.Tx) error { _, err := tx.QueryxContext(ctx, some); return err },
			"row":          func(ctx context.Context, tx inbox.Tx) error { return tx.QueryRowContext(ctx, some).Err() },
			"row of sqlx":  func(ctx context.Context, tx inbox.Tx) error { return tx.QueryRowxContext(ctx, some).Err() },
			"statement": func(ctx context.Context, tx inbox.Tx) error {
				stmt, err := tx.PrepareContext(ctx, some)
				if err != nil {
					return err
				}
				_, err = stmt.QueryContext(ctx)
				return err
			},
			"its context, ended": func(ctx context.Context, tx inbox.Tx) error {
				ctx, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				_, err := tx.QueryContext(ctx, `SELECT 1`)
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				eachBatch(t, db, func(t *testing.T, size int) {
					handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
						if err := record(ctx, tx, msg); err != nil {
							return err
						}
						return leave(ctx, tx)
					}
					q := inboxtest.NewQueue()
					q.Publish(events(9, 1)...)
					consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: 1})
					q.WaitUntilEmpty(t)
					wantOnce(t, db, events(9, 1))
					if settled := q.Settled(inbox.ActionRetry, inbox.ActionDeadLetter); len(settled) > 0 {
						t.Errorf("%+v were blamed", settled)
					}
					if _, err := in.Once(t.Context(), event(99), func(ctx context.Context, tx inbox.Tx) error { return leave(ctx, tx) }); err != nil {
						t.Errorf("Once: %v", err)
					}
				})
			})
		}
	})
}

// TestConsumerHandlerNeverReturns: the handler ignores its context. Its worker goes
// on, health reports it, and what it does later is refused.
func TestConsumerHandlerNeverReturns(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		eachBatch(t, db, func(t *testing.T, size int) {
			msgs := events(7, 1)
			wake := make(chan struct{})
			late := make(chan error, 4)
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				if msg.ID != msgs[3].ID {
					return record(ctx, tx, msg)
				}
				<-wake
				late <- record(context.WithoutCancel(ctx), tx, msg)
				return nil
			}
			q := inboxtest.NewQueue()
			q.Publish(msgs...)
			c, log := consumeLogged(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, MaxAttempts: 1, HandlerTimeout: time.Second})
			q.WaitUntilEmpty(t)
			wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
			if dead := q.DeadLetters(); len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID || !strings.Contains(dead[0].Err.Error(), "has not returned") {
				t.Errorf("dead letters %+v, want %s alone", dead, msgs[3].ID)
			}
			if h := c.Health(); h.State != inbox.Degraded || h.LastError == nil || !strings.Contains(h.LastError.Error(), msgs[3].ID) {
				t.Errorf("health %+v, want degraded because of %s", h, msgs[3].ID)
			}
			if !strings.Contains(log.String(), "a handler does not return") || !strings.Contains(log.String(), msgs[3].ID) {
				t.Errorf("the log says nothing of %s:\n%s", msgs[3].ID, log)
			}
			close(wake)
			eventually(t, "the consumer to be well", func() bool { t.Log(c.Health()); return c.Health().State == inbox.Running })
			for range len(late) {
				if err := <-late; err == nil {
					t.Error("the handler that woke up was let write")
				}
			}
			wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
		})
	})
}

// TestConsumerStopWithHandlerThatNeverReturns: Run returns all the same, and its
// error names the event.
func TestConsumerStopWithHandlerThatNeverReturns(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, url string) {
		in, _ := newInbox(t, url)
		wake, entered := make(chan struct{}), make(chan struct{})
		q := inboxtest.NewQueue()
		q.Publish(event(1))
		cfg := inbox.ConsumerConfig{ShutdownTimeout: 10 * time.Millisecond, HandlerTimeout: time.Hour}
		quiet(t, &cfg)
		c, err := inbox.NewConsumer(in, q, func(context.Context, inbox.Tx, inbox.Message) error {
			close(entered)
			<-wake
			return nil
		}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		await(t, "the handler to be entered", entered)
		end()
		select {
		case err = <-done:
		case <-time.After(patience):
			t.Fatal("Run has not returned")
		}
		close(wake)
		if err == nil || !strings.Contains(err.Error(), event(1).ID) {
			t.Errorf("Run: %v, want that the handler of %s has not returned", err, event(1).ID)
		}
		if q.Ready() != 1 {
			t.Errorf("the message was settled %+v, want it requeued", q.Settled())
		}
	})
}

// TestTxStatementsEndWithHandlerTimeout: whatever context they are given.
func TestTxStatementsEndWithHandlerTimeout(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		long := `SELECT pg_sleep(3600)`
		if dialect(db) == inbox.SQLite {
			long = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`
		}
		for name, run := range map[string]func(ctx context.Context, tx inbox.Tx) error{
			"exec": func(ctx context.Context, tx inbox.Tx) error { _, err := tx.ExecContext(ctx, long); return err },
			"row":  func(ctx context.Context, tx inbox.Tx) error { var v any; return tx.GetContext(ctx, &v, long) },
			"statement": func(ctx context.Context, tx inbox.Tx) error {
				stmt, err := tx.PrepareContext(ctx, long)
				if err != nil {
					return err
				}
				var v any
				return stmt.QueryRowContext(ctx).Scan(&v)
			},
		} {
			t.Run(name, func(t *testing.T) {
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				wantCulprit(t, in, db, 100, func(_ context.Context, tx inbox.Tx, _ inbox.Message) error {
					return run(context.Background(), tx)
				}, "longer than 1s")
			})
		}
	})
}

// TestTxUsedAfterReturn: before the commit its use makes the message
// fail, afterwards it can only be refused and logged.
func TestTxUsedAfterReturn(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		t.Run("before the commit", func(t *testing.T) {
			// The last of the batch sees to it that the culprit's goroutine has had
			// its turn.
			msgs := events(4, 1)
			var mu sync.Mutex
			var used []error
			var kept inbox.Tx
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case msg.ID == msgs[1].ID:
					kept = tx
				case kept != nil:
					used = append(used, record(ctx, kept, msgs[1]))
					kept = nil
				}
				return record(ctx, tx, msg)
			}
			q := inboxtest.NewQueue()
			q.Publish(msgs...)
			consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 4, Linger: patience, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects WHERE event_id = $1`, msgs[1].ID)
			wantOnce(t, db, msgs)
			for _, err := range used {
				if err == nil || !strings.Contains(err.Error(), "after it had returned") {
					t.Errorf("the Tx of another handler: %v", err)
				}
			}
			if len(used) == 0 {
				t.Error("no Tx was used late: nothing is proven")
			}
		})
		t.Run("after the commit", func(t *testing.T) {
			mustExec(t, db, `DELETE FROM effects`)
			mustExec(t, db, `DELETE FROM processed_events`)
			committed, answer := make(chan struct{}), make(chan error, 3)
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				go func() {
					<-committed
					late := context.WithoutCancel(ctx)
					answer <- record(late, tx, msg)
					var n int
					answer <- tx.QueryRowContext(late, `SELECT 1`).Scan(&n)
					answer <- tx.GetContext(late, &n, `SELECT 1`)
				}()
				return record(ctx, tx, msg)
			}
			q := inboxtest.NewQueue()
			q.Publish(event(1))
			_, log := consumeLogged(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			close(committed)
			for range 3 {
				if err := <-answer; err == nil {
					t.Error("the Tx worked after the commit")
				}
			}
			wantOnce(t, db, []inbox.Message{event(1)})
			if !strings.Contains(log.String(), "after the commit") || !strings.Contains(log.String(), event(1).ID) {
				t.Errorf("the log says nothing of it:\n%s", log)
			}
		})
	})
}

// TestTxStatementStillRunning: the handler returns while a goroutine of its own
// runs a statement.
func TestTxStatementStillRunning(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		if dialect(db) == inbox.SQLite {
			t.Skip("SQLite has no statement that takes a while and says that it has begun")
		}
		eachBatch(t, db, func(t *testing.T, size int) {
			wantCulprit(t, in, db, size, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				var pid int
				if err := tx.GetContext(ctx, &pid, `SELECT pg_backend_pid()`); err != nil {
					return err
				}
				if err := record(ctx, tx, msg); err != nil {
					return err
				}
				go func() { _, _ = tx.ExecContext(ctx, `SELECT pg_sleep(0.3)`) }()
				eventually(t, "the statement to run", func() bool {
					var sleeping bool
					err := db.GetContext(t.Context(), &sleeping, `SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'`, pid)
					return err == nil && sleeping
				})
				return nil
			}, "still running")
		})
	})
}
