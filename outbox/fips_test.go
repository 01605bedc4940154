package outbox

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A PostgreSQL in FIPS mode has no MD5: a table that is created now does not need
// it, and a table that does is refused before the first message.
func TestMigrateServerWithoutMD5(t *testing.T) {
	t.Parallel()
	steps, err := Schema(PostgreSQL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		keep bool // the table held messages when buckets came to be computed in another way
	}{{"a new table", false}, {"a table that held messages", true}} {
		t.Run(c.name, func(t *testing.T) {
			ob, db := postgres.unmigrated(t)
			db.MustExec(steps[0].SQL)
			before := -1
			if c.keep {
				db.MustExec(`INSERT INTO outbox_messages (id, topic, type, key, payload) VALUES (gen_random_uuid(), 't', 't', 'k', '{}')`)
				before = number(t, db, `SELECT bucket FROM outbox_messages`)
			}
			if _, err := ob.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.keep && number(t, db, `SELECT bucket FROM outbox_messages`) != before {
				t.Error("a key has moved to another bucket")
			}
			if err := ob.CheckSchema(t.Context()); err != nil {
				t.Fatalf("with MD5: %v", err)
			}
			db.MustExec(`ALTER FUNCTION pg_catalog.md5(text) RENAME TO no_md5`)
			db.MustExec(`ALTER FUNCTION pg_catalog.md5(bytea) RENAME TO no_md5`)
			db.SetMaxIdleConns(0) // sessions that have the statement prepared still find the function
			db.SetMaxIdleConns(8)
			if !c.keep {
				m := NewMessage("m", nil)
				enqueue(t, ob, m)
				start(t, newRelay(t, ob, &broker{}, eager()))
				awaitStatus(t, ob, Published, m)
				return
			}
			_, migrated := ob.Migrate(t.Context())
			for what, err := range map[string]error{"CheckSchema": ob.CheckSchema(t.Context()), "Migrate": migrated} {
				if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "MD5") {
					t.Errorf("%s: %v", what, err)
				}
			}
			relay := newRelay(t, ob, &broker{}, eager())
			start(t, relay)
			eventually(t, "the relay to say so", func() bool { return errors.Is(relay.Health().LastError, ErrSchema) })
		})
	}
}

// Go's own FIPS mode panics at MD5, which on SQLite chooses buckets.
func TestEnqueueInFIPSMode(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestEnqueueOnSQLite$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestEnqueueOnSQLite") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEnqueueOnSQLite is what TestEnqueueInFIPSMode runs.
func TestEnqueueOnSQLite(t *testing.T) {
	t.Parallel()
	ob, _ := file.newOutbox(t)
	m := NewMessage("m", nil)
	m.Key = "k"
	enqueue(t, ob, m)
	if r := record(t, ob, m); r.Status != Pending {
		t.Errorf("%+v", r)
	}
}
