package inbox_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

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

// TestNilAcknowledgesOnlyCommittedClaims: a handler that claims for itself and
// forgets its commit is not believed.
func TestNilAcknowledgesOnlyCommittedClaims(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		msgs := events(7, 1)
		handler := func(ctx context.Context, msg inbox.Message) error {
			if msg.ID != msgs[3].ID {
				return claiming(in, db, (*sqlx.Tx).Commit)(ctx, msg)
			}
			return claiming(in, db, (*sqlx.Tx).Rollback)(ctx, msg)
		}
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		consumeFunc(t, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 2})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
		dead := q.DeadLetters()
		if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[3].ID || !strings.Contains(dead[0].Err.Error(), "not committed") {
			t.Errorf("dead letters %+v, want %s alone", dead, msgs[3].ID)
		}
	})
}

// TestHandlersThatClaimAndDoNotReturn: the same goes for them as for others.
func TestHandlersThatClaimAndDoNotReturn(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
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
				consumeFunc(t, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1})
				q.WaitUntilEmpty(t)
				wantOnce(t, db, append(msgs[:3:3], msgs[4:]...))
				if dead := q.DeadLetters(); len(dead) != 1 || !strings.Contains(dead[0].Err.Error(), text) {
					t.Errorf("dead letters %+v", dead)
				}
			})
		}
	})
}

// TestTransactionsOfHandlersThatClaimCannotIdleForLong either.
func TestTransactionsOfHandlersThatClaimCannotIdleForLong(t *testing.T) {
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

// TestErrorWithACommittedClaim: whether the effect was committed as well nobody
// knows, and the next attempt would take the message for a duplicate.
func TestErrorWithACommittedClaim(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
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
				consumeFunc(t, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 3})
				q.WaitUntilEmpty(t)
				wantOnce(t, db, msgs)
				dead := q.DeadLetters()
				if len(dead) != 1 || dead[0].Delivery.Message.ID != msgs[1].ID || !strings.Contains(dead[0].Err.Error(), "its claim was committed all the same") {
					t.Errorf("dead letters %+v, want %s alone", dead, msgs[1].ID)
				}
				if parked := q.Settled(inbox.Park); len(parked) > 0 {
					t.Errorf("%+v come again", parked)
				}
			})
		}
	})
}

// TestLostAnswerOfACommit: whether it was done the next attempt finds out.
func TestLostAnswerOfACommit(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		var failed atomic.Bool
		handler := claiming(in, db, func(tx *sqlx.Tx) error {
			if err := tx.Commit(); err != nil || !failed.CompareAndSwap(false, true) {
				return err
			}
			return driver.ErrBadConn
		})
		q := inboxtest.NewQueue()
		q.Publish(events(3, 1)...)
		consumeFunc(t, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 2})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(3, 1))
		if dead := q.DeadLetters(); len(dead) > 0 {
			t.Errorf("dead letters %+v", dead)
		}
	})
}
