package sqldb

import (
	"context"
	"errors"
	neturl "net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

var notes = Contents{Files: files, Root: "testdata/notes", VersionTable: "notes_schema", Landmark: "notes"}

func openNotes(t *testing.T, db *sqlx.DB, schema string) *Database {
	t.Helper()
	d, err := notes.Open(db, "", schema)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// add inserts a note in the caller's transaction.
func add(t *testing.T, d *Database, tx *sqlx.Tx, id int) error {
	t.Helper()
	query, err := d.Query(t.Context(), tx, "add")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(t.Context(), query, id, "")
	return d.Failed(err)
}

// tenants creates a database with notes in public and in each given schema, and
// returns its URL.
func tenants(t *testing.T, schemas ...string) string {
	t.Helper()
	url := testenv.Postgres(t)
	db := open(t, "pgx", url)
	for _, schema := range append(schemas, "public") {
		db.MustExec(`CREATE SCHEMA IF NOT EXISTS ` + QuoteName(schema))
		if _, err := openNotes(t, db, schema).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// Statements use the tables that were found, whatever the transaction's
// search_path, role or temporary tables, also if it only writes.
func TestDatabaseFindsTables(t *testing.T) {
	url := tenants(t, "tenant")
	admin := open(t, "pgx", url)
	admin.MustExec(`CREATE SCHEMA bare`)
	for name, prepare := range map[string]string{
		"as it is":                  ``,
		"another schema":            `SET LOCAL search_path TO bare`,
		"another with such a table": `SET LOCAL search_path TO tenant, public`,
		"another, for the session":  `SET search_path TO tenant`,
		"none":                      `SET LOCAL search_path TO ''`,
		"a temporary table":         `CREATE TEMP TABLE notes (id int, text text)`,
	} {
		t.Run(name, func(t *testing.T) {
			eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
				for _, found := range []bool{false, true} {
					admin.MustExec(`TRUNCATE public.notes, tenant.notes`)
					db := open(url)
					d := openNotes(t, db, "")
					if found {
						if err := d.CheckSchema(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					tx := db.MustBegin()
					defer tx.Rollback()
					if prepare != "" {
						tx.MustExec(prepare)
					}
					if err := add(t, d, tx, 1); err != nil {
						t.Fatalf("found before: %v: %v", found, err)
					}
					if err := tx.Commit(); err != nil {
						t.Fatal(err)
					}
					if n := count(t, db, `SELECT count(*) FROM public.notes`); n != 1 {
						t.Errorf("found before: %v: %d notes in public, %d in tenant", found, n, count(t, db, `SELECT count(*) FROM tenant.notes`))
					}
				}
			})
		})
	}
}

// A search_path that every connection gets is the service's choice, however it
// is set.
func TestDatabaseUsesServiceSearchPath(t *testing.T) {
	url := tenants(t, "Own, Schema")
	for name, give := range map[string]func(admin *sqlx.DB) *sqlx.DB{
		"by the URL": func(*sqlx.DB) *sqlx.DB {
			return open(t, "pgx", url+"&search_path="+neturl.PathEscape(`"Own, Schema",public`))
		},
		"by the database": func(admin *sqlx.DB) *sqlx.DB {
			admin.MustExec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO "Own, Schema", public', current_database()); END $$`)
			return open(t, "pgx", url)
		},
		"on each connection": func(admin *sqlx.DB) *sqlx.DB {
			admin.MustExec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$`)
			db := open(t, "pgx", url)
			fill(t, db, 3, `SET search_path TO "Own, Schema"`)
			return db
		},
	} {
		t.Run(name, func(t *testing.T) {
			admin := open(t, "pgx", url)
			db := give(admin)
			d := openNotes(t, db, "")
			tx := db.MustBegin()
			defer tx.Rollback()
			if err := add(t, d, tx, 1); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := d.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				_, err := tx.Exec(ctx, "add", 2, "own")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if n := count(t, admin, `SELECT count(*) FROM "Own, Schema".notes`); n != 2 {
				t.Errorf("%d of 2 notes in the service's own schema", n)
			}
			admin.MustExec(`DELETE FROM "Own, Schema".notes`)
		})
	}
}

// The caller holds the only connection.
func TestDatabaseQueryWithoutFreeConnection(t *testing.T) {
	url := tenants(t, "tenant")
	db := open(t, "pgx", url)
	db.SetMaxOpenConns(1)
	for path, want := range map[string]string{"tenant": "set it with WithSchema", "''": ""} {
		d := openNotes(t, db, "")
		tx := db.MustBegin()
		defer tx.Rollback()
		tx.MustExec(`SET LOCAL search_path TO ` + path)
		err := add(t, d, tx, 1)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// A cached schema is forgotten when the table has moved.
func TestDatabaseTablesMove(t *testing.T) {
	db := open(t, "pgx", tenants(t))
	d := openNotes(t, db, "")
	read := func() error {
		return d.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
			var all []struct {
				ID   int
				Text string
			}
			return tx.Select(ctx, &all, "all")
		})
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	db.MustExec(`CREATE SCHEMA app; ALTER TABLE notes SET SCHEMA app; ALTER TABLE notes_schema SET SCHEMA app`)
	db.MustExec(`DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path TO app', current_user, current_database()); END $$`)
	db.SetMaxIdleConns(0) // sessions begin with the new path
	if err := read(); !errors.Is(Schema(err), ErrSchema) {
		t.Fatalf("%v, want ErrSchema", err)
	}
	if err := read(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestWithSchema(t *testing.T) {
	db := open(t, "pgx", testenv.Postgres(t))
	d := openNotes(t, db, `a "b"`)
	if _, err := d.Migrate(t.Context()); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), `there is no schema "a ""b"""`) {
		t.Fatalf("%v, want the schema named", err)
	}
	db.MustExec(`CREATE SCHEMA "a ""b"""`)
	if applied, err := d.Migrate(t.Context()); err != nil || len(applied) != 2 {
		t.Fatalf("%v, %v", applied, err)
	}
	tx := db.MustBegin()
	defer tx.Rollback()
	if err := add(t, d, tx, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`); n != 0 {
		t.Errorf("%d tables in public", n)
	}
	if steps, err := d.Migrations(t.Context()); err != nil || steps[1].AppliedAt.IsZero() {
		t.Errorf("%+v, %v", steps, err)
	}
	for _, bad := range []string{"it's", `a\b`, strings.Repeat("x", 64), "a\nb"} {
		if _, err := notes.Open(db, "", bad); err == nil || !strings.Contains(err.Error(), "WithSchema: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := notes.Open(openSQLite(t, t.TempDir()+"/t.db"), "", "app"); err == nil || !strings.Contains(err.Error(), "WithSchema: sqlite has no schemas") {
		t.Errorf("%v", err)
	}
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string][]string{
		`"$user", public`:    {"$user", "public"},
		`Own , "a ""b, c"`:   {"own", `a "b, c`},
		`pg_catalog`:         {"pg_catalog"},
		``:                   {""},
		`""`:                 {""},
		`"unended, Quote`:    {"unended, Quote"},
		`tenant_42,"Public"`: {"tenant_42", "Public"},
	} {
		if got := splitPath(path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestQuoteLiteral(t *testing.T) {
	db := open(t, "pgx", testenv.Postgres(t))
	for _, text := range []string{``, `a'b`, `a\b`, `\'`, `E'\\'`} {
		for _, conforming := range []string{"on", "off"} {
			tx := db.MustBegin()
			tx.MustExec(`SET LOCAL standard_conforming_strings = ` + conforming)
			tx.MustExec(`SET LOCAL escape_string_warning = off`)
			if n := count(t, db, `SELECT octet_length(`+QuoteLiteral(text)+`)`); n != len(text) {
				t.Errorf("%s: %d bytes", text, n)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
