package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// locker is a session that has claimed events and does nothing more, as one
// whose process is frozen, or gone without a word.
type locker struct {
	tx *sqlx.Tx
}

func lock(t *testing.T, in *inbox.Inbox, url string, msgs ...inbox.Message) *locker {
	t.Helper()
	db := sqlx.MustOpen("pgx", url+"&application_name=frozen")
	t.Cleanup(func() { db.Close() })
	tx := db.MustBegin()
	t.Cleanup(func() { tx.Rollback() })
	for _, msg := range msgs {
		if _, err := in.Claim(t.Context(), tx, msg); err != nil {
			t.Fatal(err)
		}
	}
	return &locker{tx}
}

// TestConsumerLockedEvents: another session has claimed them and hangs. All others
// are applied, no attempt of the locked ones is counted, and the log names the
// session.
func TestConsumerLockedEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind        string
		redelivered bool
	}{{"NewConsumer", false}, {"NewConsumer", true}, {"NewConsumerFunc", false}, {"NewConsumerFunc", true}} {
		redelivered := c.redelivered
		t.Run(fmt.Sprintf("%s, redelivered %t", c.kind, redelivered), func(t *testing.T) {
			url := testenv.Postgres(t)
			in, db := newInbox(t, url)
			eachBatch(t, db, func(t *testing.T, size int) {
				msgs := events(60, 60)
				var locked, free []inbox.Message
				q := inboxtest.NewQueue()
				for i, m := range msgs {
					if i%6 == 2 {
						locked = append(locked, m)
					} else {
						free = append(free, m)
					}
					q.Deliver(inbox.Delivery{Message: m, Redelivered: redelivered && i%6 == 2})
				}
				holder := lock(t, in, url, locked...)
				c, log := kinds[c.kind].consumeLogged(t, in, db, q, record, inbox.ConsumerConfig{Workers: 2, BatchSize: size, MaxAttempts: 1, Prefetch: 12})
				q.WaitFor(t, "the free ones to be applied", func() bool { return len(q.Acked()) == len(free) })
				wantOnce(t, db, free)
				q.WaitFor(t, "all locked ones to be retried", func() bool { return len(retryIDs(q)) == len(locked) })
				if h := c.Health(); h.State != inbox.Degraded || h.LastError == nil || !strings.Contains(h.LastError.Error(), "locked") {
					t.Errorf("health %+v, want degraded because of locked events", h)
				}
				for _, want := range []string{locked[0].ID, "frozen", "idle in transaction"} {
					if !strings.Contains(log.String(), want) {
						t.Errorf("the log does not speak of %q:\n%s", want, log)
					}
				}
				if err := holder.tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				q.EndDelays()
				q.WaitUntilEmpty(t)
				wantOnce(t, db, msgs)
				for _, s := range q.Settled(inbox.ActionRetry) {
					if !s.Uncounted {
						t.Errorf("%s has paid for it", s.Delivery.Message.ID)
					}
				}
				if dead := q.DeadLetters(); len(dead) > 0 {
					t.Errorf("dead letters %+v", dead)
				}
				inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
				eventually(t, "the consumer to be well", func() bool { return c.Health().State == inbox.Running })
			})
		})
	}
}

// retryIDs are the ids of messages that were retried, each once.
func retryIDs(q *inboxtest.Queue) map[string]bool {
	ids := map[string]bool{}
	for _, s := range q.Settled(inbox.ActionRetry) {
		ids[s.Delivery.Message.ID] = true
	}
	return ids
}

// TestNewConsumerFuncLockedEvents: the same where a handler claims for
// itself.
func TestNewConsumerFuncLockedEvents(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	in, db := newInbox(t, url)
	msgs := events(40, 40)
	holder := lock(t, in, url, msgs[3], msgs[7])
	q := inboxtest.NewQueue()
	q.Publish(msgs...)
	c := consumeFunc(t, q, claiming(in, db, (*sqlx.Tx).Commit), inbox.ConsumerConfig{Workers: 2, MaxAttempts: 1})
	q.WaitFor(t, "the free ones to be applied", func() bool { return len(q.Acked()) == len(msgs)-2 })
	q.WaitFor(t, "the locked ones to be retried", func() bool { return len(retryIDs(q)) == 2 })
	if err := c.Health().LastError; err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("health says %v", err)
	}
	if err := holder.tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	q.EndDelays()
	q.WaitUntilEmpty(t)
	wantOnce(t, db, msgs)
}

// TestOnceNamesHolder: after waiting nearly as long as for a statement.
func TestOnceNamesHolder(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	in, _ := newInbox(t, url, inbox.WithStatementTimeout(time.Second))
	lock(t, in, url, event(1))
	_, err := in.Once(t.Context(), event(1), func(context.Context, inbox.Tx) error { return nil })
	locked, ok := errors.AsType[*inbox.LockedError](err)
	if !ok || !errors.Is(err, inbox.ErrLocked) || locked.EventID != event(1).ID || locked.Holder == nil || locked.Holder.Application != "frozen" {
		t.Errorf("Once: %v, want a LockedError that names event and holder", err)
	}
}

// TestOncePreparedTransaction: it belongs to no session, and no timeout ends it.
func TestOncePreparedTransaction(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	mustExec(t, openDB(t, server.URL()), `ALTER SYSTEM SET max_prepared_transactions = 5`)
	server.Stop()
	server.Start()
	in, db := newInbox(t, server.URL(), inbox.WithStatementTimeout(2*time.Second))
	tx := db.MustBegin()
	if _, err := in.Claim(t.Context(), tx, event(1)); err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, `PREPARE TRANSACTION 'shop-1'`)
	_ = tx.Rollback() // of nothing
	_, err := in.Once(t.Context(), event(1), func(context.Context, inbox.Tx) error { return nil })
	if locked, ok := errors.AsType[*inbox.LockedError](err); !ok || locked.Holder == nil || locked.Holder.PID != 0 || !strings.Contains(err.Error(), "prepared transaction") {
		t.Errorf("Once: %v, want a LockedError that speaks of a prepared transaction", err)
	}
	mustExec(t, db, `ROLLBACK PREPARED 'shop-1'`)
	if outcome, err := in.Once(t.Context(), event(1), func(context.Context, inbox.Tx) error { return nil }); outcome != inbox.Processed || err != nil {
		t.Errorf("Once: %s, %v", outcome, err)
	}
}

// TestConsumerIdleTimeout: the database ends transactions of a consumer that
// is frozen or dead, and a stricter setting is kept.
func TestConsumerIdleTimeout(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"0": "75s", "5s": "5s", "10min": "75s"} {
		t.Run(setting, func(t *testing.T) {
			in, db := newInbox(t, testenv.Postgres(t)+"&idle_in_transaction_session_timeout="+setting)
			idle := make(chan string, 2)
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				var inside string
				err := tx.GetContext(ctx, &inside, `SELECT current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('lock_timeout')`)
				idle <- inside
				return err
			}
			q := inboxtest.NewQueue()
			q.Publish(event(1))
			consume(t, in, q, handler, inbox.ConsumerConfig{HandlerTimeout: time.Minute, MaxAttempts: 1})
			q.WaitUntilEmpty(t)
			if got := <-idle; got != want+" 0" {
				t.Errorf("the handler's transaction may idle, and wait for locks, for %s; want %s", got, want+" 0")
			}
			inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM processed_events`)
		})
	}
}
