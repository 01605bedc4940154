package inbox_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestOnceAppliesOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		inboxtest.DeliverTwice(t, in, record, event(1))
		inboxtest.DeliverAtOnce(t, in, record, event(2), 8)
		wantOnce(t, db, []inbox.Message{event(1), event(2)})
	})
}

func TestOnceRollsBackWhatFails(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		full := errors.New("mailbox is full")
		_, err := in.Once(t.Context(), event(1), func(ctx context.Context, tx inbox.Tx) error {
			return errors.Join(record(ctx, tx, event(1)), full)
		})
		if !errors.Is(err, full) {
			t.Errorf("Once: %v, want the handler's error", err)
		}
		_, err = in.Once(t.Context(), event(1), func(ctx context.Context, tx inbox.Tx) error {
			if err := record(ctx, tx, event(1)); err != nil {
				return err
			}
			panic("no such template")
		})
		if panicked, ok := errors.AsType[*inbox.PanicError](err); !ok || panicked.Value != "no such template" ||
			!strings.Contains(string(panicked.Stack), "once_test.go") {
			t.Errorf("Once: %v, want a PanicError that tells where", err)
		}
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM effects`)
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
		inboxtest.DeliverTwice(t, in, record, event(1))
	})
}

func TestOnceRefusesAnotherPayload(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		inboxtest.DeliverTwice(t, in, record, event(1))
		forged := event(1)
		forged.Payload = []byte(`{"order":666}`)
		_, err := in.Once(t.Context(), forged, func(context.Context, inbox.Tx) error {
			t.Error("the handler ran")
			return nil
		})
		if conflict, ok := errors.AsType[*inbox.ConflictError](err); !ok || !errors.Is(err, inbox.ErrConflict) || conflict.EventID != forged.ID {
			t.Errorf("Once: %v, want a ConflictError of %s", err, forged.ID)
		}
		wantOnce(t, db, []inbox.Message{event(1)})
	})
}

func TestOnceSeparatesConsumers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		other, err := inbox.New(db, "invoices")
		if err != nil {
			t.Fatal(err)
		}
		inboxtest.DeliverTwice(t, in, record, event(1))
		inboxtest.DeliverTwice(t, other, record, event(1))
		inboxtest.RequireCount(t, db, 2, `SELECT count(*) FROM effects`)
	})
}

func TestHandlerContext(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, _ := newInbox(t, url)
		msg := event(1)
		msg.Headers = map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
		_, err := in.Once(t.Context(), msg, func(ctx context.Context, _ inbox.Tx) error {
			if got := correlation.CorrelationID(ctx); got != msg.CorrelationID {
				t.Errorf("correlation id %q, want %q", got, msg.CorrelationID)
			}
			if got := correlation.CausationID(ctx); got != msg.ID {
				t.Errorf("causation id %q, want the message's %q", got, msg.ID)
			}
			if got := trace.SpanContextFromContext(ctx).TraceID().String(); got != "4bf92f3577b34da6a3ce929d0e0e4736" {
				t.Errorf("trace id %s", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOnceRunsAgainAfterDeadlock(t *testing.T) {
	in, db := newInbox(t, testenv.Postgres(t))
	mustExec(t, db, `CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO accounts VALUES (1, 0), (2, 0)`)
	var bothHold sync.WaitGroup // each holds its first row
	bothHold.Add(2)
	runs := make([]int, 2)
	transfer := func(i, from, to int) error {
		_, err := in.Once(t.Context(), event(i), func(ctx context.Context, tx inbox.Tx) error {
			if _, err := tx.ExecContext(ctx, `UPDATE accounts SET balance = balance - 1 WHERE id = $1`, from); err != nil {
				return err
			}
			if runs[i]++; runs[i] == 1 {
				bothHold.Done()
				bothHold.Wait()
			}
			_, err := tx.ExecContext(ctx, `UPDATE accounts SET balance = balance + 1 WHERE id = $1`, to)
			return err
		})
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() { errs[0] = transfer(0, 1, 2) })
	wg.Go(func() { errs[1] = transfer(1, 2, 1) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if runs[0]+runs[1] != 3 {
		t.Errorf("handlers ran %v times, want one rerun", runs)
	}
	inboxtest.RequireCount(t, db, 2, `SELECT count(*) FROM accounts WHERE balance = 0`)
}

func TestOnceRunsAgainAfterSerializationFailure(t *testing.T) {
	url := testenv.Postgres(t)
	_, owner := newInbox(t, url)
	mustExec(t, owner, `DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database());
	END $$`)
	in, db := newInbox(t, url)
	for i := range 10 {
		inboxtest.DeliverAtOnce(t, in, record, event(i), 6)
	}
	inboxtest.RequireCount(t, db, 10, `SELECT count(*) FROM effects`)
}

func TestInboxWithoutSchema(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		db := openDB(t, url)
		in, err := inbox.New(db, "notifications")
		if err != nil {
			t.Fatal(err)
		}
		nothing := func(context.Context, inbox.Tx) error { return nil }
		for what, call := range map[string]func() error{
			"CheckSchema": func() error { return in.CheckSchema(t.Context()) },
			"Once":        func() error { _, err := in.Once(t.Context(), event(1), nothing); return err },
			"List":        func() error { _, err := in.List(t.Context(), inbox.ListQuery{}); return err },
			"Get":         func() error { _, err := in.Get(t.Context(), "x"); return err },
			"Stats":       func() error { _, err := in.Stats(t.Context()); return err },
			"Purge":       func() error { _, err := in.Purge(t.Context(), 0); return err },
			"Consumers":   func() error { _, err := in.Consumers(t.Context()); return err },
			"Claim": func() error {
				tx := db.MustBegin()
				defer tx.Rollback()
				_, err := in.Claim(t.Context(), tx, event(1))
				return err
			},
			"Run": func() error {
				c, err := inbox.NewConsumer(in, inboxtest.NewQueue(), record, inbox.ConsumerConfig{})
				if err != nil {
					return err
				}
				return c.Run(t.Context())
			},
		} {
			if err := call(); !errors.Is(err, inbox.ErrSchema) {
				t.Errorf("%s: %v, want ErrSchema", what, err)
			}
		}
		// What a handler lacks is not the inbox's schema.
		if _, err := in.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = in.Once(t.Context(), event(1), func(ctx context.Context, tx inbox.Tx) error { return record(ctx, tx, event(1)) })
		if !errors.Is(sqldb.Schema(err), inbox.ErrSchema) || errors.Is(err, inbox.ErrSchema) {
			t.Errorf("Once: %v, want the handler's own missing table", err)
		}
	})
}

func TestMigrateConcurrently(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		const n = 4
		applied := make([]int, n)
		errs := make([]error, n)
		dbs := make([]*sqlx.DB, n)
		for i := range n {
			dbs[i] = openDB(t, url)
		}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				in, err := inbox.New(dbs[i], "notifications")
				if err != nil {
					errs[i] = err
					return
				}
				steps, err := in.Migrate(t.Context())
				applied[i], errs[i] = len(steps), err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		steps, err := inbox.Schema(dialect(dbs[0]))
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, a := range applied {
			sum += a
		}
		if sum != len(steps) {
			t.Errorf("%v steps were applied by %d processes, want %d together", applied, n, len(steps))
		}
	})
}
