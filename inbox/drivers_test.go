package inbox_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Each driver, and each way it has of sending a query (some are for poolers
// that keep no prepared statements), claims and reads the same, and lends the
// same transaction.
func TestConsumerDrivers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ driver, parameter, value string }{
		{"pgx", "default_query_exec_mode", "simple_protocol"},
		{"pgx", "default_query_exec_mode", "exec"},
		{"pgx", "default_query_exec_mode", "cache_describe"},
		{"pgx", "default_query_exec_mode", "describe_exec"},
		{"pgx", "bytea_output", "escape"},
		{"pgx", "standard_conforming_strings", "off"},
		{"postgres", "binary_parameters", "yes"},
		{"postgres", "bytea_output", "escape"},
	} {
		t.Run(c.driver+" "+c.parameter+" "+c.value, func(t *testing.T) {
			raw := testenv.Postgres(t)
			newInbox(t, raw)
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set("sslmode", "disable")
			q.Set(c.parameter, c.value)
			u.RawQuery = q.Encode()
			db, err := sqlx.Open(c.driver, u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			in, err := inbox.New(db, "notifications")
			if err != nil {
				t.Fatal(err)
			}
			driverRound(t, in, db)
		})
	}
}

func driverRound(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
	t.Helper()
	q := inboxtest.NewQueue()
	msgs := events(12, 3)
	q.Publish(msgs...)
	q.Publish(msgs...)
	q.Deliver(inbox.Delivery{Message: event(12), Redelivered: true})
	forged := msgs[0] // of the same key, so that it comes after the original
	forged.Type = "OrderCancelled"
	q.Publish(forged)
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		switch msg.ID {
		case msgs[3].ID:
			if _, err := tx.ExecContext(ctx, `SET LOCAL TIME ZONE 'Asia/Tokyo'`); err != nil {
				return err
			}
		case msgs[5].ID:
			if _, err := tx.ExecContext(ctx, `COMMIT`); err == nil {
				t.Error("a COMMIT was sent")
			}
		}
		return record(ctx, tx, msg)
	}
	c := consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 2, MaxAttempts: 1, BatchSize: 5})
	q.WaitUntilEmpty(t)
	wantOnce(t, db, append(append(msgs[:5:5], msgs[6:]...), event(12)))
	if n := len(q.DeadLetters()); n != 2+1 { // the culprit, its copy, and the forged one
		t.Errorf("%d dead letters, want 3", n)
	}
	c.stop()
	r, err := in.Get(t.Context(), msgs[1].ID)
	if err != nil || r.Topic != msgs[1].Topic || r.PayloadHash == [32]byte{} {
		t.Errorf("Get: %+v, %v", r, err)
	}
	if p, err := in.List(t.Context(), inbox.ListQuery{EventID: r.EventID}); err != nil || len(p.Records) != 1 || p.Records[0] != r {
		t.Errorf("List: %+v, %v", p, err)
	}
	if s, err := in.Stats(t.Context()); err != nil || s.Applied.N != 12 {
		t.Errorf("Stats: %+v, %v", s, err)
	}
	if n, err := in.Purge(t.Context(), 0); n != 12 || err != nil {
		t.Errorf("Purge: %d, %v", n, err)
	}
}

// TestInboxIgnoresSearchPath: settings that other users of the pool have left on a
// connection do not matter.
func TestInboxIgnoresSearchPath(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"", "app", `we"ird`} {
		t.Run(schema, func(t *testing.T) {
			url := testenv.Postgres(t)
			db := openDB(t, url)
			var opts []inbox.Option
			if schema != "" {
				mustExec(t, db, `DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', '`+schema+`'); END $$`)
				opts = append(opts, inbox.WithSchema(schema))
			}
			in, db := newInbox(t, url, opts...)
			db.SetMaxOpenConns(1)
			inboxtest.DeliverTwice(t, in, record, event(1))
			mustExec(t, db, `CREATE SCHEMA tenant_a; CREATE TABLE tenant_a.processed_events (n int); SET search_path TO tenant_a`)
			inboxtest.DeliverTwice(t, in, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO public.effects (event_id, key) VALUES ($1, $2)`, msg.ID, msg.Key)
				return err
			}, event(2))
			tx := db.MustBegin()
			fresh, err := in.Claim(t.Context(), tx, event(1))
			if fresh || err != nil {
				t.Errorf("Claim: %t, %v", fresh, err)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			if p, err := in.List(t.Context(), inbox.ListQuery{}); err != nil || len(p.Records) != 2 {
				t.Errorf("List: %+v, %v", p, err)
			}
			if err := in.CheckReady(t.Context()); err != nil {
				t.Errorf("CheckReady: %v", err)
			}
		})
	}
	if _, err := inbox.New(openDB(t, sqliteFile(t)), "notifications", inbox.WithSchema("app")); err == nil {
		t.Error("SQLite was given a schema")
	}
}

// TestTxCopyIn: lib/pq copies rows in bulk by a statement that is prepared from a
// special text.
func TestTxCopyIn(t *testing.T) {
	in, db := newPQInbox(t, testenv.Postgres(t))
	copies := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		stmt, err := tx.PrepareContext(ctx, pq.CopyIn("effects", "event_id", "key"))
		if err != nil {
			return err
		}
		for range 3 {
			if _, err := stmt.ExecContext(ctx, msg.ID, msg.Key); err != nil {
				return err
			}
		}
		if _, err := stmt.ExecContext(ctx); err != nil {
			return err
		}
		return stmt.Close()
	}
	q := inboxtest.NewQueue()
	q.Publish(events(5, 1)...)
	consume(t, in, q, copies, inbox.ConsumerConfig{Workers: 1, BatchSize: 5, Linger: patience, MaxAttempts: 1})
	q.WaitUntilEmpty(t)
	inboxtest.RequireCount(t, db, 15, `SELECT count(*) FROM effects`)
	if dead := q.DeadLetters(); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
}
