package exampletest

import (
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
)

// Open opens a service's database to look into it.
func Open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := sqlstore.Open(url, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Count counts the rows of what follows FROM.
func Count(t *testing.T, db *sqlx.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.GetContext(t.Context(), &n, "SELECT Count(*) FROM "+query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

// Execute runs a statement.
func Execute(t *testing.T, db *sqlx.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Dialect tells which one a database speaks.
func Dialect(t *testing.T, db *sqlx.DB) outbox.Dialect {
	t.Helper()
	switch name := db.DriverName(); name {
	case "pgx":
		return outbox.PostgreSQL
	case "sqlite3":
		return outbox.SQLite
	default:
		t.Fatalf("driver %s", name)
		return ""
	}
}

// SameTransaction is a condition on two rows: that one transaction wrote them.
// Only PostgreSQL can tell.
func SameTransaction(t *testing.T, db *sqlx.DB, one, other string) string {
	if Dialect(t, db) == outbox.PostgreSQL {
		return one + ".xmin = " + other + ".xmin"
	}
	return "true"
}
