package inbox_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestHealthReportsUnusableDatabase: idle consumers notice it without a message,
// and recover by themselves. The cases run at the same time, as the check runs
// every few seconds.
func TestHealthReportsUnusableDatabase(t *testing.T) {
	t.Parallel()
	troubles := map[string]struct{ trouble, mend, text string }{
		"read-only": {
			`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`,
			`SET transaction_read_only = off; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`,
			"read-only"},
		"rights revoked":      {`REVOKE INSERT ON processed_events FROM worker`, `GRANT INSERT ON processed_events TO worker`, "permission denied"},
		"credentials refused": {`ALTER ROLE worker NOLOGIN`, `ALTER ROLE worker LOGIN`, "not permitted to log in"},
		"another schema":      {`ALTER TABLE processed_events RENAME COLUMN type TO kind`, `ALTER TABLE processed_events RENAME COLUMN kind TO type`, "migrate"},
		"no schema":           {`ALTER TABLE processed_events RENAME TO gone`, `ALTER TABLE gone RENAME TO processed_events`, "migrate"},
		"another key":         {`ALTER TABLE processed_events DROP CONSTRAINT processed_events_pkey`, `ALTER TABLE processed_events ADD PRIMARY KEY (consumer, event_id)`, "ON CONFLICT"},
	}
	type trouble struct{ kind, name string }
	workers := map[trouble]*worker{}
	for kind, newConsumer := range kinds {
		for name := range troubles {
			workers[trouble{kind, name}] = startWorker(t, newConsumer)
		}
	}
	for in, w := range workers {
		eventually(t, in.name+": the consumer to run", func() bool { return w.Health().State == inbox.Running })
		w.asAdmin(t, troubles[in.name].trouble)
	}
	for in, w := range workers {
		eventually(t, in.name+": the consumer to notice", func() bool {
			h := w.Health()
			return h.State == inbox.Degraded && h.LastError != nil && strings.Contains(h.LastError.Error(), troubles[in.name].text)
		})
		w.asAdmin(t, troubles[in.name].mend)
	}
	for in, w := range workers {
		eventually(t, in.name+": the consumer to recover", func() bool { return w.Health().State == inbox.Running })
		w.queue.Publish(event(1))
		w.queue.WaitUntilEmpty(t)
		wantOnce(t, w.admin, []inbox.Message{event(1)})
	}
}

// worker is a consumer with a database of its own, which it uses by a role of
// its own.
type worker struct {
	*running
	queue *inboxtest.Queue
	admin *sqlx.DB
	role  string
}

func startWorker(t *testing.T, kind newConsumer) *worker {
	t.Helper()
	url := testenv.Postgres(t)
	_, admin := newInbox(t, url)
	w := &worker{admin: admin, queue: inboxtest.NewQueue(),
		role: strings.ReplaceAll(testenv.UniqueName(t, "worker"), ".", "_")}
	w.asAdmin(t, `CREATE ROLE worker LOGIN PASSWORD 'pulse'; GRANT ALL ON ALL TABLES IN SCHEMA public TO worker; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO worker`)
	t.Cleanup(func() { w.asAdmin(t, `DROP OWNED BY worker; DROP ROLE worker`) })
	db := openDB(t, strings.Replace(url, "pulse:pulse@", w.role+":pulse@", 1))
	db.SetMaxIdleConns(0) // so that each look meets the server as it is
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	w.running = kind.consume(t, in, db, w.queue, record, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 1, Retention: inbox.KeepForever})
	return w
}

// asAdmin runs a query about the role "worker", also while the test ends.
func (w *worker) asAdmin(t *testing.T, query string) {
	t.Helper()
	if _, err := w.admin.ExecContext(context.Background(), strings.ReplaceAll(query, "worker", w.role)); err != nil {
		t.Error(err)
	}
}

// TestHealthReportsPurgeWithoutProgress: nothing fails, and the table grows.
func TestHealthReportsPurgeWithoutProgress(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		mustExec(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at) VALUES ('notifications', 'old', $1, $2)`,
			make([]byte, sha256.Size), ago(db, 40*24*time.Hour))
		keep, release := `CREATE TRIGGER keep BEFORE DELETE ON processed_events BEGIN SELECT RAISE(IGNORE); END`, `DROP TRIGGER keep`
		if dialect(db) == inbox.PostgreSQL {
			keep = `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
				CREATE TRIGGER keep BEFORE DELETE ON processed_events FOR EACH ROW EXECUTE FUNCTION keep()`
			release = `DROP TRIGGER keep ON processed_events`
		}
		mustExec(t, db, keep)
		c := kind.consume(t, in, db, inboxtest.NewQueue(), record, inbox.ConsumerConfig{PurgeInterval: 10 * time.Millisecond})
		eventually(t, "the consumer to notice", func() bool {
			h := c.Health()
			return h.State == inbox.Degraded && strings.Contains(h.LastError.Error(), "purge: deletes nothing")
		})
		mustExec(t, db, release)
		eventually(t, "the consumer to recover", func() bool { return c.Health().State == inbox.Running })
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
	})
}

// TestHealthForgetsFailedPurge: a purge that fails is tried again long before the next
// is due.
func TestHealthForgetsFailedPurge(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		mustExec(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at) VALUES ('notifications', 'old', $1, $2)`,
			make([]byte, sha256.Size), ago(db, 40*24*time.Hour))
		refuse, allow := `CREATE TRIGGER refuse BEFORE DELETE ON processed_events BEGIN SELECT RAISE(ABORT, 'refused'); END`, `DROP TRIGGER refuse`
		if dialect(db) == inbox.PostgreSQL {
			refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
				CREATE TRIGGER refuse BEFORE DELETE ON processed_events FOR EACH ROW EXECUTE FUNCTION refuse()`
			allow = `DROP TRIGGER refuse ON processed_events`
		}
		mustExec(t, db, refuse)
		c := kind.consume(t, in, db, inboxtest.NewQueue(), record, inbox.ConsumerConfig{PurgeInterval: time.Hour})
		eventually(t, "the purge to fail", func() bool {
			h := c.Health()
			return h.State == inbox.Degraded && strings.HasPrefix(h.LastError.Error(), "purge: ") && strings.Contains(h.LastError.Error(), "refused")
		})
		mustExec(t, db, allow)
		eventually(t, "the consumer to recover", func() bool { return c.Health().State == inbox.Running })
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
	})
}

// TestConsumerBackoffDoesNotReturn: the backoff is the user's code as well.
func TestConsumerBackoffDoesNotReturn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		for text, leave := range ways() {
			t.Run(text, func(t *testing.T) {
				q := inboxtest.NewQueue()
				q.Publish(event(1))
				handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
					if msg.Attempt == 1 {
						return errSMTP
					}
					return record(ctx, tx, msg)
				}
				_, log := consumeLogged(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 2,
					Backoff: func(int) time.Duration { leave(); return 0 }})
				q.WaitFor(t, "the message to wait for its retry", func() bool { return q.Retrying() == 1 })
				q.EndDelays()
				q.WaitUntilEmpty(t)
				inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects`)
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				if !strings.Contains(log.String(), "Backoff has failed") {
					t.Errorf("the log says nothing of it:\n%s", log)
				}
			})
		}
	})
}

// leavingHandler is a log handler that ends the goroutine of who logs.
type leavingHandler struct{ slog.Handler }

func (h leavingHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "rolled back") {
		runtime.Goexit()
	}
	return nil
}

// TestConsumerReplacesWorkers: a worker whose goroutine was ended has a successor,
// and what it held is redelivered.
func TestConsumerReplacesWorkers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		q.Publish(events(7, 1)...)
		failed := calls{}
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			if failed.add(msg.ID); msg.ID == event(3).ID && failed.of(msg.ID) == 1 {
				return errSMTP
			}
			return record(ctx, tx, msg)
		}
		c, err := inbox.NewConsumer(in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 7, Linger: patience,
			Logger: slog.New(leavingHandler{slog.DiscardHandler})})
		if err != nil {
			t.Fatal(err)
		}
		start(t, c)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(7, 1))
	})
}

// TestTxMapper: handlers get the mapper of the service's handle, the inbox's own
// statements do not.
func TestTxMapper(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *inbox.Inbox, db *sqlx.DB) {
		db.Mapper = reflectx.NewMapperFunc("column", func(s string) string { return "no_such_" + s })
		in, err := inbox.New(db, "notifications")
		if err != nil {
			t.Fatal(err)
		}
		inboxtest.DeliverTwice(t, in, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			effect := struct {
				Event string `column:"event"`
				Key   string `column:"key"`
			}{msg.ID, "k"}
			if _, err := tx.NamedExecContext(ctx, `INSERT INTO effects (event_id, key) VALUES (:event, :key)`, effect); err != nil {
				return err
			}
			return tx.GetContext(ctx, &effect, `SELECT event_id AS event, key FROM effects`)
		}, event(1))
		if r, err := in.Get(t.Context(), event(1).ID); err != nil || r.Topic != event(1).Topic {
			t.Errorf("Get: %+v, %v", r, err)
		}
		if p, err := in.List(t.Context(), inbox.ListQuery{}); err != nil || len(p.Records) != 1 {
			t.Errorf("List: %+v, %v", p, err)
		}
		if s, err := in.Stats(t.Context()); err != nil || s.Applied.N != 1 {
			t.Errorf("Stats: %+v, %v", s, err)
		}
	})
}
