package inbox_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// sessionChanges are what a handler may do to its session, by name.
func sessionChanges(db *sqlx.DB) map[string]string {
	if dialect(db) == inbox.SQLite {
		return map[string]string{
			"pragma":          `PRAGMA case_sensitive_like = on`,
			"temporary table": `CREATE TEMP TABLE IF NOT EXISTS scratch (n int)`,
			"attach":          `ATTACH ':memory:' AS scratch`,
		}
	}
	return map[string]string{
		"search_path":                 `SET search_path TO tenant_a`,
		"local search_path":           `SET LOCAL search_path TO tenant_a`,
		"search_path by a function":   `SELECT public.become_tenant()`,
		"role":                        `SET ROLE pg_monitor`,
		"tenant":                      `SELECT set_config('app.tenant', 'a', false)`,
		"local tenant":                `SET LOCAL app.tenant = 'a'`,
		"tenant by a procedure":       `CALL public.tenant_is('a')`,
		"time zone":                   `SET TIME ZONE 'Asia/Tokyo'`,
		"time zone by a trigger":      `INSERT INTO public.moods VALUES ('Asia/Tokyo')`,
		"isolation":                   `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE`,
		"statement_timeout":           `SET statement_timeout = '1h'`,
		"advisory lock":               `SELECT pg_advisory_lock(4711)`,
		"advisory lock by a function": `SELECT public.lock_all()`,
		"temporary table":             `CREATE TEMP TABLE scratch (n int)`,
		"table by a block":            `DO $$ BEGIN CREATE TEMP TABLE scratch (n int) ON COMMIT DROP; END $$`,
		"listen":                      `LISTEN orders`,
		"prepared statement":          `PREPARE scratch AS SELECT 1`,
		"cursor":                      `DECLARE scratch CURSOR WITH HOLD FOR SELECT 1`,
	}
}

// sessionState is what neighbours and the next transaction must not see changed.
func sessionState(d inbox.Dialect) string {
	if d == inbox.SQLite {
		return `SELECT 'a' LIKE 'A' || '|' || (SELECT count(*) FROM temp.sqlite_schema) || '|' || (SELECT count(*) FROM pragma_database_list WHERE name = 'scratch')`
	}
	return `SELECT concat_ws('|', current_setting('search_path'), current_user, current_setting('TimeZone'), nullif(current_setting('app.tenant', true), ''),
		current_setting('default_transaction_isolation'), current_setting('statement_timeout'),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), to_regclass('scratch'),
		(SELECT count(*) FROM pg_prepared_statements WHERE from_sql), (SELECT count(*) FROM pg_cursors WHERE is_holdable),
		(SELECT count(*) FROM pg_listening_channels()))`
}

// TestTxSessionChanges: changes that a handler makes to its session affect neither
// other messages nor the next user of the connection, and are not a failure.
func TestTxSessionChanges(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		d := dialect(db)
		db.SetMaxOpenConns(4)
		db.SetMaxIdleConns(4)
		effects := `main.effects`
		if d == inbox.PostgreSQL {
			effects = `public.effects`
			mustExec(t, db, `CREATE SCHEMA tenant_a; CREATE TABLE tenant_a.effects (event_id text NOT NULL, key text NOT NULL);
				CREATE FUNCTION become_tenant() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'tenant_a', false) $$;
				CREATE PROCEDURE tenant_is(text) LANGUAGE sql AS $$ SELECT set_config('app.tenant', $1, true) $$;
				CREATE FUNCTION lock_all() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(4712) $$;
				CREATE TABLE moods (zone text NOT NULL);
				CREATE FUNCTION feel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('TimeZone', NEW.zone, false); RETURN NEW; END $$;
				CREATE TRIGGER feel BEFORE INSERT ON moods FOR EACH ROW EXECUTE FUNCTION feel();
				GRANT ALL ON ALL TABLES IN SCHEMA public TO pg_monitor; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO pg_monitor`)
		}
		var clean string
		if err := db.GetContext(t.Context(), &clean, sessionState(d)); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 9} {
			var change string // of the message whose id ends in 3
			seen := states{}
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				seen.look(ctx, tx, d, msg.ID)
				if strings.HasSuffix(msg.ID, "3") {
					if _, err := tx.ExecContext(ctx, change); err != nil {
						return err
					}
				}
				_, err := tx.ExecContext(ctx, `INSERT INTO `+effects+` (event_id, key) VALUES ($1, $2)`, msg.ID, msg.Key)
				return err
			}
			q := inboxtest.NewQueue()
			consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, Linger: patience, MaxAttempts: 1})
			for name, next := range sessionChanges(db) {
				t.Run(fmt.Sprintf("%s, batches of %d", name, size), func(t *testing.T) {
					msgs := events(9, 1)
					for i := range msgs {
						msgs[i].ID = fmt.Sprintf("%s-%d-%d", name, size, i)
						msgs[i].Type = msgs[i].ID // what is known of one is not of the others
					}
					change = next
					q.Publish(msgs...)
					q.WaitUntilEmpty(t)
					wantOnce(t, db, msgs)
					mustExec(t, db, `DELETE FROM `+effects)
					mustExec(t, db, `DELETE FROM processed_events`)
					if settled := q.Settled(inbox.ActionRetry, inbox.ActionDeadLetter); len(settled) > 0 {
						t.Errorf("%+v were blamed", settled)
					}
					// A lock of the session is no news to those in the same session.
					sharesLock := name == "advisory lock by a function" && size > 1
					for id, state := range seen.all() {
						if state != clean && !sharesLock {
							t.Errorf("the handler of %s has found %s, want %s", id, state, clean)
						}
					}
					wantCleanPool(t, db, clean)
				})
			}
		}
	})
}

// states are what handlers have found, by event id.
type states struct {
	mu sync.Mutex
	m  map[string]string
}

func (s *states) look(ctx context.Context, tx inbox.Tx, d inbox.Dialect, id string) {
	var state string
	err := tx.GetContext(ctx, &state, sessionState(d))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]string{}
	}
	s.m[id] = state
	if err != nil {
		s.m[id] = err.Error()
	}
}

// all returns what was found since the last call.
func (s *states) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.m
	s.m = nil
	return found
}

// wantCleanPool fails t unless every connection of the pool is as it was.
func wantCleanPool(t *testing.T, db *sqlx.DB, clean string) {
	t.Helper()
	for range db.Stats().MaxOpenConnections {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var state string
		if err := conn.GetContext(t.Context(), &state, sessionState(dialect(db))); err != nil || state != clean {
			t.Errorf("a connection of the pool is left as %s (%v), want %s", state, err, clean)
		}
	}
}

// TestOnceRestoresSession: the next copy is looked up in the schema in which the
// first was recorded.
func TestOnceRestoresSession(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		db.SetMaxOpenConns(1)
		if dialect(db) == inbox.PostgreSQL {
			mustExec(t, db, `CREATE SCHEMA tenant_a; CREATE TABLE tenant_a.processed_events (LIKE processed_events INCLUDING ALL);
				CREATE FUNCTION become_tenant() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'tenant_a', false) $$`)
		}
		for i, change := range []string{`SET search_path TO tenant_a`, `SELECT become_tenant()`} {
			if dialect(db) == inbox.SQLite {
				change = `CREATE TEMP TABLE IF NOT EXISTS processed_events (n int)`
			}
			for _, want := range []inbox.Outcome{inbox.Processed, inbox.Duplicate} {
				got, err := in.Once(t.Context(), event(i), func(ctx context.Context, tx inbox.Tx) error {
					if err := record(ctx, tx, event(i)); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, change)
					return err
				})
				if err != nil || got != want {
					t.Errorf("%s: Once: %s, %v; want %s", change, got, err, want)
				}
			}
		}
		inboxtest.RequireCount(t, db, 2, `SELECT count(*) FROM effects`)
	})
}

// TestConsumerRunsSessionChangersAlone: once known, messages of that kind do not
// make a batch run twice.
func TestConsumerRunsSessionChangersAlone(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		change := `SET LOCAL TIME ZONE 'Asia/Tokyo'`
		if dialect(db) == inbox.SQLite {
			change = `PRAGMA case_sensitive_like = off`
		}
		runs := calls{}
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			runs.add(msg.ID)
			if strings.HasPrefix(msg.Type, "Tenant") {
				if _, err := tx.ExecContext(ctx, change); err != nil {
					return err
				}
			}
			return record(ctx, tx, msg)
		}
		msgs := events(60, 1)
		for i := range msgs {
			if i%3 == 0 {
				msgs[i].Type = "TenantCreated"
			}
		}
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 60, Linger: patience, MaxAttempts: 1})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		before := runs.total() // one rolled-back batch on top
		more := events(120, 1)[60:]
		for i := range more {
			more[i].Type = msgs[i].Type
		}
		q.Publish(more...)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, append(msgs, more...))
		if n := runs.total() - before; n != len(more) {
			t.Errorf("%d runs of %d messages whose kinds are known", n, len(more))
		}
	})
}

// calls counts the runs of handlers by event id.
type calls struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *calls) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[id]++
}

func (c *calls) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id]
}

func (c *calls) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.n {
		n += m
	}
	return n
}
