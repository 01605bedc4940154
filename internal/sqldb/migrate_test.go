package sqldb

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func migrator(root string, d Dialect) *Migrator {
	return NewMigrator(files, "testdata/"+root, d, "test_schema")
}

// eachDatabase runs test on an empty database of every dialect.
func eachDatabase(t *testing.T, test func(t *testing.T, d Dialect, db *sqlx.DB)) {
	t.Run("PostgreSQL", func(t *testing.T) { test(t, PostgreSQL, openPostgres(t, testenv.Postgres(t))) })
	t.Run("SQLite", func(t *testing.T) {
		db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), "test.db")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		test(t, SQLite, db)
	})
}

func TestMigratorUp(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d Dialect, db *sqlx.DB) {
		m, ctx := migrator("good", d), t.Context()
		if err := m.Check(ctx, db); !errors.Is(err, ErrSchema) {
			t.Errorf("before: %v, want ErrSchema", err)
		}
		if steps, err := m.Status(ctx, db); err != nil || len(steps) != 2 || !steps[0].AppliedAt.IsZero() {
			t.Errorf("before: %+v, %v", steps, err)
		}
		applied, err := m.Up(ctx, db)
		if err != nil || len(applied) != 2 || applied[0].Name != "first" || applied[1].Version != 2 {
			t.Fatalf("%+v, %v", applied, err)
		}
		if applied, err := m.Up(ctx, db); err != nil || len(applied) != 0 {
			t.Errorf("again: %+v, %v; want nothing to do", applied, err)
		}
		var n int
		if err := db.Get(&n, `SELECT count(name) + count(*) FROM first`); n != 1 || err != nil {
			t.Errorf("%d, %v: not every statement of the steps ran once", n, err)
		}
		steps, err := m.Status(ctx, db)
		if err != nil || len(steps) != 2 {
			t.Fatalf("%+v, %v", steps, err)
		}
		for _, s := range steps {
			if age := time.Since(s.AppliedAt); age < -time.Minute || age > time.Hour {
				t.Errorf("step %d was applied %v ago", s.Version, age)
			}
		}
		if err := m.Check(ctx, db); err != nil {
			t.Error(err)
		}
		if m.Steps()[0].AppliedAt != (time.Time{}) {
			t.Error("Status has written into the migrator")
		}
	})
}

// The printed steps do the same when another tool runs them.
func TestMigratorStepsInOtherTool(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d Dialect, db *sqlx.DB) {
		m := migrator("good", d)
		for _, s := range m.Steps() {
			db.MustExec(s.SQL)
		}
		if err := m.Check(t.Context(), db); err != nil {
			t.Error(err)
		}
		if applied, err := m.Up(t.Context(), db); err != nil || len(applied) != 0 {
			t.Errorf("%+v, %v; want nothing to do", applied, err)
		}
	})
}

func TestMigratorUpConcurrent(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d Dialect, db *sqlx.DB) {
		var wg sync.WaitGroup
		applied := make([]int, 6)
		for i := range applied {
			wg.Go(func() {
				steps, err := migrator("good", d).Up(t.Context(), db)
				if err != nil {
					t.Error(err)
				}
				applied[i] = len(steps)
			})
		}
		wg.Wait()
		sum := 0
		for _, n := range applied {
			sum += n
		}
		if sum != 2 {
			t.Errorf("%v steps applied, want 2 together", applied)
		}
	})
}

func TestMigratorUpOlderSchema(t *testing.T) {
	db, ctx := openPostgres(t, testenv.Postgres(t)), t.Context()
	if _, err := migrator("good", PostgreSQL).Up(ctx, db); err != nil {
		t.Fatal(err)
	}
	longer := migrator("longer", PostgreSQL)
	if err := longer.Check(ctx, db); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "version 2, this program needs 3") {
		t.Errorf("%v", err)
	}
	if applied, err := longer.Up(ctx, db); err != nil || len(applied) != 1 || applied[0].Name != "third" {
		t.Errorf("%+v, %v", applied, err)
	}
	// The older program leaves the newer schema unchanged.
	older := migrator("good", PostgreSQL)
	if applied, err := older.Up(ctx, db); err != nil || len(applied) != 0 {
		t.Errorf("older: %+v, %v", applied, err)
	}
	if err := older.Check(ctx, db); err != nil {
		t.Errorf("older: %v", err)
	}
	if steps, err := older.Status(ctx, db); err != nil || len(steps) != 2 {
		t.Errorf("older: %+v, %v", steps, err)
	}
}

func TestMigratorUpRollsBack(t *testing.T) {
	db, ctx := openPostgres(t, testenv.Postgres(t)), t.Context()
	failing := migrator("failing", PostgreSQL)
	applied, err := failing.Up(ctx, db)
	if err == nil || applied != nil || !strings.Contains(err.Error(), "migrate test_schema: step 2 broken") {
		t.Fatalf("%v, %v; want the step named", applied, err)
	}
	if err := failing.Check(ctx, db); !errors.Is(err, ErrSchema) {
		t.Errorf("%v: the version table has stayed", err)
	}
	if applied, err := migrator("good", PostgreSQL).Up(ctx, db); err != nil || len(applied) != 2 {
		t.Errorf("after it: %+v, %v", applied, err)
	}
}

// The service has its own table with one of the names.
func TestMigratorUpNameInUse(t *testing.T) {
	advice := map[Dialect]string{PostgreSQL: "WithSchema", SQLite: "another file"}
	eachDatabase(t, func(t *testing.T, d Dialect, db *sqlx.DB) {
		db.MustExec(`CREATE TABLE first (theirs integer)`)
		_, err := migrator("good", d).Up(t.Context(), db)
		if err == nil || !strings.Contains(err.Error(), "first") || !strings.Contains(err.Error(), advice[d]) {
			t.Errorf("%v", err)
		}
		if _, err := db.Exec(`SELECT theirs FROM first`); err != nil {
			t.Error(err)
		}
	})
}

func TestNewMigratorPanics(t *testing.T) {
	requirePanic(t, "has no migration 1", func() { migrator("gap", PostgreSQL) })
	requirePanic(t, "bad migration file first.sql", func() { migrator("misnamed", PostgreSQL) })
	requirePanic(t, "unmarked/postgres/migrations/0001_first.sql does not begin with -- Leaves:", func() { migrator("unmarked", PostgreSQL) })
	requirePanic(t, "none", func() { migrator("none", PostgreSQL) })
}

// A role that can only read and write rows finds nothing to do, and so does one
// that can only write them.
func TestMigratorUpNeedsNoPrivileges(t *testing.T) {
	url := testenv.Postgres(t)
	admin := openPostgres(t, url)
	d := openNotes(t, admin, "")
	if _, err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin.MustExec(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	for role, rights := range map[string]string{"app": `SELECT, INSERT ON ALL TABLES IN SCHEMA public`, "producer": `INSERT ON notes`} {
		name := strings.ReplaceAll(testenv.UniqueName(t, role), ".", "_")
		admin.MustExec(`CREATE ROLE ` + name)
		t.Cleanup(func() { admin.MustExec(`DROP OWNED BY ` + name); admin.MustExec(`DROP ROLE ` + name) })
		admin.MustExec(`GRANT ` + rights + ` TO ` + name)
		db := openPostgres(t, url)
		db.SetMaxOpenConns(1)
		db.MustExec(`SET ROLE ` + name)
		db.MustExec(`SET default_transaction_read_only = on`)
		d := openNotes(t, db, "")
		if applied, err := d.Migrate(t.Context()); err != nil || len(applied) != 0 {
			t.Errorf("%s: %v, %v; want nothing to do", role, applied, err)
		}
		if err := d.CheckSchema(t.Context()); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// A program whose rights are revoked while it runs has a schema as before.
func TestCheckSchemaWithoutRights(t *testing.T) {
	url := testenv.Postgres(t)
	admin := openPostgres(t, url)
	name := strings.ReplaceAll(testenv.UniqueName(t, "app"), ".", "_")
	admin.MustExec(`CREATE ROLE ` + name + `; CREATE SCHEMA app; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA app TO ` + name)
	t.Cleanup(func() { admin.MustExec(`DROP OWNED BY ` + name); admin.MustExec(`DROP ROLE ` + name) })
	for _, fixed := range []string{"app", ""} {
		if _, err := openNotes(t, admin, "app").Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		admin.MustExec(`GRANT USAGE ON SCHEMA app TO ` + name + `; GRANT ALL ON ALL TABLES IN SCHEMA app TO ` + name)
		db := openPostgres(t, url)
		db.SetMaxOpenConns(1)
		db.MustExec(`SET search_path TO app`)
		db.MustExec(`SET ROLE ` + name)
		d := openNotes(t, db, fixed)
		if err := d.Read(t.Context(), func(context.Context, *Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		admin.MustExec(`REVOKE ALL ON ALL TABLES IN SCHEMA app FROM ` + name)
		if err := d.CheckSchema(t.Context()); err != nil {
			t.Errorf("schema %q, tables: %v", fixed, err)
		}
		admin.MustExec(`REVOKE ALL ON SCHEMA app FROM ` + name)
		if err := d.CheckSchema(t.Context()); errors.Is(err, ErrSchema) || err == nil || !strings.Contains(err.Error(), `permission denied for schema "app"`) {
			t.Errorf("schema %q: %v", fixed, err)
		}
	}
}

// The rows of the history are missing, as in a dump of the schema alone, or the
// whole table is: existing columns show the version, and the history is written
// again.
func TestMigratorUpWithoutHistory(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d Dialect, db *sqlx.DB) {
		n := openNotes(t, db, "")
		for _, c := range []struct {
			lose    string
			version int
		}{
			{`DELETE FROM notes_schema`, 2},
			{`DROP TABLE notes_schema`, 2},
			{`DROP TABLE notes_schema; ALTER TABLE notes RENAME COLUMN text TO old`, 1},
			{`DROP TABLE notes_schema; DROP TABLE notes`, 0},
		} {
			if _, err := n.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			db.MustExec(c.lose)
			if err := n.CheckSchema(t.Context()); (err == nil) != (c.version == 2) {
				t.Errorf("%s: %v", c.lose, err)
			}
			applied, err := n.Migrate(t.Context())
			if err != nil || len(applied) != 2-c.version {
				t.Errorf("%s: %v, %v; want %d steps", c.lose, applied, err, 2-c.version)
			}
			steps, err := n.Migrations(t.Context())
			if err != nil || steps[0].AppliedAt.IsZero() || steps[1].AppliedAt.IsZero() {
				t.Errorf("%s: %+v, %v", c.lose, steps, err)
			}
		}
	})
}
