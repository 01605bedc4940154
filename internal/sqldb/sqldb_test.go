package sqldb

import (
	"database/sql"
	"embed"
	"errors"
	"strings"
	"testing"
)

//go:embed testdata
var files embed.FS

func TestDetect(t *testing.T) {
	for name, want := range map[string]Dialect{
		"pgx": PostgreSQL, "pgx/v5": PostgreSQL, "postgres": PostgreSQL, "cloudsqlpostgres": PostgreSQL, "pq": PostgreSQL,
		"sqlite": SQLite, "sqlite3": SQLite, "Sqlite3-Extended": SQLite,
	} {
		if got, err := Detect(name); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"", "mysql", "otelsql-0"} {
		if _, err := Detect(name); !errors.Is(err, ErrDialect) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, want ErrDialect with the name", name, err)
		}
	}
}

func TestDialectCheck(t *testing.T) {
	for _, d := range []Dialect{PostgreSQL, SQLite} {
		if err := d.Check(); err != nil {
			t.Error(err)
		}
	}
	if err := Dialect("oracle").Check(); !errors.Is(err, ErrDialect) {
		t.Errorf("%v, want ErrDialect", err)
	}
	if o := PostgreSQL.ReadCommitted(); o == nil || o.Isolation != sql.LevelReadCommitted {
		t.Errorf("%+v", o)
	}
	if o := SQLite.ReadCommitted(); o != nil {
		t.Errorf("%+v, want the driver's default: it knows no other", o)
	}
}

func TestLoadQueriesDropsComments(t *testing.T) {
	q := LoadQueries(files, "testdata/good", PostgreSQL)
	if len(q) != 1 {
		t.Errorf("%d queries; those of sub-folders are none", len(q))
	}
	const want = "SELECT 1 -- the rest of a line stays\nWHERE note <> '--';"
	if got := q.Get("query"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	requirePanic(t, "no query other", func() { q.Get("other") })
	requirePanic(t, "testdata/none", func() { LoadQueries(files, "testdata/none", SQLite) })
}

// requirePanic calls do, which is to panic with a text that contains want.
func requirePanic(t *testing.T, want string, do func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if text, _ := recover().(string); !strings.Contains(text, want) {
			t.Errorf("panic %q, want …%s…", text, want)
		}
	}()
	do()
}
