package exampletest

import (
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Open opens a service's database to look into it.
func Open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, "test")
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
func Dialect(t *testing.T, db *sqlx.DB) sqldb.Dialect {
	t.Helper()
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// SameTransaction is a condition on two rows: that one transaction wrote them.
// Only PostgreSQL can tell.
func SameTransaction(t *testing.T, db *sqlx.DB, one, other string) string {
	if Dialect(t, db) == sqldb.PostgreSQL {
		return one + ".xmin = " + other + ".xmin"
	}
	return "true"
}
