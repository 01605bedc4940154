package inbox_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// eachOwner runs test with the inbox named to the consumer and without, on an
// empty database each time.
func eachOwner(t *testing.T, test func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig)) {
	for name, named := range map[string]bool{"inbox named": true, "inbox not named": false} {
		t.Run(name, func(t *testing.T) {
			eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
				cfg := inbox.ConsumerConfig{Workers: 1}
				if named {
					cfg.Inbox = in
				}
				test(t, in, db, cfg)
			})
		})
	}
}

// consumeFunc is consume for a handler that claims for itself.
func consumeFunc(t *testing.T, s inbox.Source, fn func(context.Context, inbox.Message) error, cfg inbox.ConsumerConfig) *running {
	t.Helper()
	quiet(t, &cfg)
	c, err := inbox.NewConsumerFunc(s, fn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, c)
}

// claiming is such a handler: it claims, records, and ends its transaction.
func claiming(in *inbox.Inbox, db *sqlx.DB, end func(*sqlx.Tx) error) func(context.Context, inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) error {
		tx, err := db.BeginTxx(ctx, nil)
		if err != nil {
			return inbox.Unavailable(err)
		}
		defer tx.Rollback()
		fresh, err := in.Claim(ctx, tx, msg)
		if err != nil || !fresh {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id, key) VALUES ($1, $2)`, msg.ID, msg.Key); err != nil {
			return err
		}
		return end(tx)
	}
}

// TestNewConsumerFuncNilWithoutCommit: nil from a handler that did not commit does
// not acknowledge.
func TestNewConsumerFuncNilWithoutCommit(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		msgs := events(7, 1)
		handler := func(ctx context.Context, msg inbox.Message) error {
			if msg.ID != msgs[3].ID {
				return claiming(in, db, (*sqlx.Tx).Commit)(ctx, msg)
			}
			return claiming(in, db, (*sqlx.Tx).Rollback)(ctx, msg)
		}
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		cfg.MaxAttempts = 2
		consumeFunc(t, q, handler, cfg)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
		dead := q.DeadLetters()
		if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID || !strings.Contains(dead[0].Err.Error(), "not committed") {
			t.Errorf("dead letters %+v, want %s alone", dead, msgs[3].ID)
		}
	})
}

// TestNewConsumerFuncHandlerDoesNotReturn: they are treated like other handlers.
func TestNewConsumerFuncHandlerDoesNotReturn(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		for text, leave := range ways() {
			t.Run(text, func(t *testing.T) {
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				msgs := events(7, 1)
				handler := func(ctx context.Context, msg inbox.Message) error {
					return claiming(in, db, func(tx *sqlx.Tx) error {
						if msg.ID == msgs[3].ID {
							leave()
						}
						return tx.Commit()
					})(ctx, msg)
				}
				q := inboxtest.NewQueue()
				q.Publish(msgs...)
				cfg.MaxAttempts = 1
				consumeFunc(t, q, handler, cfg)
				q.WaitUntilEmpty(t)
				wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
				if dead := q.DeadLetters(); len(dead) != 1 || !strings.Contains(dead[0].Err.Error(), text) {
					t.Errorf("dead letters %+v", dead)
				}
			})
		}
	})
}

// TestNewConsumerFuncIdleTimeout: their transactions cannot idle for long either.
func TestNewConsumerFuncIdleTimeout(t *testing.T) {
	in, db := newInbox(t, testenv.Postgres(t))
	idle := make(chan string, 1)
	q := inboxtest.NewQueue()
	q.Publish(event(1))
	consumeFunc(t, q, claiming(in, db, func(tx *sqlx.Tx) error {
		var inside string
		err := tx.Get(&inside, `SELECT current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('lock_timeout')`)
		idle <- inside
		return errors.Join(err, tx.Commit())
	}), inbox.ConsumerConfig{HandlerTimeout: time.Minute, MaxAttempts: 1})
	q.WaitUntilEmpty(t)
	if got := <-idle; got != "75s 0" {
		t.Errorf("the handler's transaction may idle, and wait for locks, for %s; want 75s 0", got)
	}
	wantOnce(t, db, []inbox.Message{event(1)})
}

// TestNewConsumerFuncErrorAfterCommit: it is not known whether the effect was
// committed as well, and the next attempt would skip the message as a duplicate.
func TestNewConsumerFuncErrorAfterCommit(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		mailServerFull := errors.New("the mail server is full")
		for name, end := range map[string]func(*sqlx.Tx) error{
			"after the commit": func(tx *sqlx.Tx) error { return errors.Join(tx.Commit(), mailServerFull) },
			"held": func(tx *sqlx.Tx) error {
				return inbox.Unavailable(errors.Join(tx.Commit(), mailServerFull))
			},
			"by a script": func(tx *sqlx.Tx) error {
				if _, err := tx.Exec(`COMMIT`); err != nil {
					return err
				}
				_, err := tx.Exec(`INSERT INTO effects (event_id) VALUES (NULL)`)
				return err
			},
			"by a panic": func(tx *sqlx.Tx) error {
				if err := tx.Commit(); err != nil {
					return err
				}
				panic(mailServerFull)
			},
		} {
			t.Run(name, func(t *testing.T) {
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				msgs := events(3, 1)
				handler := func(ctx context.Context, msg inbox.Message) error {
					if msg.ID != msgs[1].ID {
						return claiming(in, db, (*sqlx.Tx).Commit)(ctx, msg)
					}
					return claiming(in, db, end)(ctx, msg)
				}
				q := inboxtest.NewQueue()
				q.Publish(msgs...)
				cfg.MaxAttempts = 3
				consumeFunc(t, q, handler, cfg)
				q.WaitUntilEmpty(t)
				wantOnce(t, db, msgs)
				dead := q.DeadLetters()
				if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[1].ID || !strings.Contains(dead[0].Err.Error(), "its claim was committed all the same") {
					t.Errorf("dead letters %+v, want %s alone", dead, msgs[1].ID)
				}
				if retried := q.Settled(inbox.ActionRetry); len(retried) > 0 {
					t.Errorf("%+v come again", retried)
				}
			})
		}
	})
}

// TestNewConsumerFuncLostCommitAnswer: the next attempt finds out whether the
// commit succeeded.
func TestNewConsumerFuncLostCommitAnswer(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		var failed atomic.Bool
		handler := claiming(in, db, func(tx *sqlx.Tx) error {
			if err := tx.Commit(); err != nil || !failed.CompareAndSwap(false, true) {
				return err
			}
			return driver.ErrBadConn
		})
		q := inboxtest.NewQueue()
		q.Publish(events(3, 1)...)
		cfg.MaxAttempts = 2
		consumeFunc(t, q, handler, cfg)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(3, 1))
		if dead := q.DeadLetters(); len(dead) > 0 {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

// TestNewConsumerFuncCountsDuplicates: the consumer sees what Claim returned.
func TestNewConsumerFuncCountsDuplicates(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		msgs := events(7, 3)
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		q.Publish(msgs...)
		c := consumeFunc(t, q, claiming(in, db, (*sqlx.Tx).Commit), cfg)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		eventually(t, "all to be counted", func() bool { h := c.Health(); return h.Applied == 7 && h.Duplicates == 7 })
	})
}

// TestNewConsumerFuncNilAfterFailedClaim: there is nothing to acknowledge.
func TestNewConsumerFuncNilAfterFailedClaim(t *testing.T) {
	eachOwner(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB, cfg inbox.ConsumerConfig) {
		handler := func(ctx context.Context, msg inbox.Message) error {
			_, _ = in.Claim(ctx, db.DB, msg) // no transaction
			return nil
		}
		q := inboxtest.NewQueue()
		q.Publish(event(1))
		cfg.MaxAttempts = 2
		consumeFunc(t, q, handler, cfg)
		q.WaitUntilEmpty(t)
		if dead := q.DeadLetters(); len(dead) != 1 || !errors.Is(dead[0].Err, inbox.ErrNoTransaction) || !strings.Contains(dead[0].Err.Error(), "its claim had failed") {
			t.Errorf("dead letters %+v, want one that says why", dead)
		}
	})
}

// TestNewConsumerFuncErrorBeforeClaim: it counts a failure if the database would
// have accepted the claim; otherwise the message is held, whatever the error.
func TestNewConsumerFuncErrorBeforeClaim(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		var calls atomic.Int32
		cfg := inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1, Inbox: in, Retention: inbox.KeepForever}
		var early atomic.Bool // it fails before it claims
		handler := func(ctx context.Context, msg inbox.Message) error {
			calls.Add(1)
			if early.Load() {
				return errSMTP
			}
			err := claiming(in, db, (*sqlx.Tx).Commit)(ctx, msg)
			if err == nil {
				return nil
			}
			return errors.New("claim: " + err.Error()) // the database's error is lost on the way
		}
		q := inboxtest.NewQueue()
		q.Publish(event(1))
		mustExec(t, db, `ALTER TABLE effects RENAME TO gone`)
		c := consumeFunc(t, q, func(context.Context, inbox.Message) error { return errSMTP }, cfg)
		q.WaitUntilEmpty(t)
		if dead := q.DeadLetters(); len(dead) != 1 || !errors.Is(dead[0].Err, errSMTP) {
			t.Errorf("the database is ready: dead letters %+v, want one", dead)
		}
		c.stop()

		q = inboxtest.NewQueue()
		q.Publish(event(2))
		c = consumeFunc(t, q, handler, cfg)
		eventually(t, "the consumer to run", func() bool { return c.Health().State == inbox.Running })
		q.WaitUntilEmpty(t) // the table of effects is missing, which is the handler's own
		if dead := q.DeadLetters(); len(dead) != 1 {
			t.Errorf("its own table is missing: dead letters %+v, want one", dead)
		}

		mustExec(t, db, `ALTER TABLE gone RENAME TO effects`)
		mustExec(t, db, `ALTER TABLE processed_events RENAME TO elsewhere`)
		q.Publish(event(3))
		for _, before := range []bool{true, false} {
			early.Store(before)
			calls.Store(0)
			eventually(t, "the worker to hold and to try again", func() bool { return c.Health().Held == 1 && calls.Load() > 2 })
		}
		if n := len(q.DeadLetters()); n != 1 {
			t.Errorf("the inbox's table is missing: %d dead letters, want none more", n)
		}
		mustExec(t, db, `ALTER TABLE elsewhere RENAME TO processed_events`)
		q.WaitUntilEmpty(t)
		inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects WHERE event_id = $1`, event(3).ID)
	})
}

// TestNewConsumerFuncClearsStart: a crash after the commit must
// not leave a start that is never deleted.
func TestNewConsumerFuncClearsStart(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		var started, left int
		handler := func(ctx context.Context, msg inbox.Message) error {
			const count = `SELECT count(*) FROM inbox_attempts`
			return errors.Join(db.Get(&started, count), claiming(in, db, (*sqlx.Tx).Commit)(ctx, msg), db.Get(&left, count))
		}
		q := inboxtest.NewQueue()
		q.Deliver(inbox.Delivery{Message: event(1), Redelivered: true})
		consumeFunc(t, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1, Inbox: in})
		q.WaitUntilEmpty(t)
		if started != 1 || left != 0 {
			t.Errorf("%d starts recorded in the handler and %d after its commit, want 1 and 0", started, left)
		}
		wantOnce(t, db, []inbox.Message{event(1)})
	})
}

// TestNewConsumerFuncWithoutClaim: a redelivered message whose handler needs no
// claim leaves no start either.
func TestNewConsumerFuncWithoutClaim(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		q := inboxtest.NewQueue()
		q.Deliver(inbox.Delivery{Message: event(1), Redelivered: true})
		consumeFunc(t, q, func(context.Context, inbox.Message) error { return nil }, inbox.ConsumerConfig{Inbox: in})
		q.WaitUntilEmpty(t)
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}

// TestNewConsumerFuncLogsConsumer: the log names the consumer, and Run refuses to
// start without the inbox's tables.
func TestNewConsumerFuncLogsConsumer(t *testing.T) {
	in, db := newInbox(t, sqliteFile(t))
	log := &journal{}
	newFunc := func(in *inbox.Inbox) *inbox.Consumer {
		c, err := inbox.NewConsumerFunc(inboxtest.NewQueue(), claiming(in, db, (*sqlx.Tx).Commit), inbox.ConsumerConfig{
			Inbox: in, PurgeInterval: time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start(t, newFunc(in))
	eventually(t, "the consumer to run", func() bool { return c.Health().State == inbox.Running })
	mustExec(t, db, `ALTER TABLE processed_events RENAME TO gone`)
	eventually(t, "the purge to fail", func() bool { return c.Health().State == inbox.Degraded })
	eventually(t, "the log to name it", func() bool { return strings.Contains(log.String(), "consumer=notifications") })
	c.stop()
	if in, err := inbox.New(openDB(t, sqliteFile(t)), "notifications"); err != nil {
		t.Fatal(err)
	} else if err := newFunc(in).Run(t.Context()); !errors.Is(err, inbox.ErrSchema) {
		t.Errorf("Run without tables: %v, want ErrSchema", err)
	}
}
