package database_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
)

func TestOpenDialect(t *testing.T) {
	for url, want := range map[string]sqldb.Dialect{
		"postgres://app@127.0.0.1:1/orders":               sqldb.PostgreSQL,
		"postgresql://app@127.0.0.1:1/orders":             sqldb.PostgreSQL,
		sqlite.URL(filepath.Join(t.TempDir(), "none.db")): sqldb.SQLite,
	} {
		db, dialect, err := database.Open(url, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if guessed, err := sqldb.Detect(db.DriverName()); dialect != want || guessed != want || err != nil {
			t.Errorf("%s: %s, by its driver %s, %v; want %s", url, dialect, guessed, err, want)
		}
	}
}

func TestValidateErrors(t *testing.T) {
	for url, want := range map[string]string{
		"":                               "is empty",
		"mysql://app:hunter2@host/db":    "unsupported database",
		"app:hunter2@host":               "unsupported database",
		"postgres://app:hunter2@h:x/db":  "cannot be parsed",
		"postgres://app:hun@hunter2/d@b": "after the host",
		"sqlite:":                        "names no file",
		"sqlite:a.db?mode=memory":        "parameters",
	} {
		db, _, err := database.Open(url, "test")
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "URL: ") || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "expected ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q and what is expected", url, err, want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db, _, err := database.Open(sqlite.URL(path), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	writer := db.MustBegin()
	defer writer.Rollback()
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, busy := db.BeginTxx(short, nil)
	_, missing := db.Exec(`SELECT * FROM orders`)
	brief, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, interrupted := db.ExecContext(brief, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`)

	odd := filepath.Join(t.TempDir(), "odd.db")
	if err := os.WriteFile(odd, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	noDatabase, _, err := database.Open(sqlite.URL(odd), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer noDatabase.Close()
	nobody, _, err := database.Open("postgres://app@127.0.0.1:1/orders", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()

	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"a file that others have locked", busy, true},
		{"a query that takes too long", interrupted, true},
		{"a missing table", missing, false},
		{"a file that is no database", noDatabase.Ping(), false},
		{"a server that is not there", nobody.Ping(), true},
		{"time is up", context.DeadlineExceeded, true},
		{"something else", errors.New("order is unknown"), false},
	} {
		if c.err == nil || sqldb.Unanswered(c.err) != c.want {
			t.Errorf("%s: %v: %v, want %v", c.name, c.err, sqldb.Unanswered(c.err), c.want)
		}
	}
	if sqldb.Unanswered(nil) {
		t.Error("nothing is unreachable")
	}
}
