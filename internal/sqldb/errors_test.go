package sqldb

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// states returns an error with this SQLSTATE from each driver.
func states(code, message string) []error {
	return []error{
		&pgconn.PgError{Code: code, Message: message},
		fmt.Errorf("enqueue: %w", &pgconn.PgError{Code: code, Message: message}),
		&pq.Error{Code: pq.ErrorCode(code), Message: message},
		errors.Join(errors.New("other"), &pq.Error{Code: pq.ErrorCode(code), Message: message}),
	}
}

func TestErrorsByDriver(t *testing.T) {
	for _, c := range []struct {
		name, code, message       string
		retryable, schema, unique bool
	}{
		{"serialization failure", "40001", "could not serialize access", true, false, false},
		{"deadlock", "40P01", "deadlock detected", true, false, false},
		{"lock timeout", "55P03", "canceling statement due to lock timeout", true, false, false},
		{"missing table", "42P01", `relation "outbox_messages" does not exist`, false, true, false},
		{"missing column", "42703", `column "discarded_at" does not exist`, false, true, false},
		{"missing schema", "3F000", "no schema has been selected to create in", false, true, false},
		{"duplicate", "23505", `doppelter Schlüsselwert verletzt Unique-Constraint »t_id_key«`, false, false, true},
		{"other duplicate", "23505", `violates unique constraint "other_key"`, false, false, false},
		{"not null", "23502", `null value in column "id" of t_id_key`, false, false, false},
		{"aborted transaction", "25P02", "current transaction is aborted", false, false, false},
		{"words of SQLite", "P0001", "database is locked, no such table, UNIQUE constraint failed: t.id", false, false, false},
	} {
		for _, err := range states(c.code, c.message) {
			if got := SQLState(err); got != c.code {
				t.Errorf("%s: state %q of %T", c.name, got, err)
			}
			check(t, c.name, err, c.retryable, c.schema, c.unique)
		}
	}
	for _, c := range []struct {
		text                      string
		retryable, schema, unique bool
	}{
		{"sqlite3: constraint failed: UNIQUE constraint failed: t.id", false, false, true},
		{"UNIQUE constraint failed: t.seq", false, false, false},
		{"connection refused", false, false, false},
	} {
		check(t, c.text, errors.New(c.text), c.retryable, c.schema, c.unique)
	}
	check(t, "no error", nil, false, false, false)
}

func check(t *testing.T, name string, err error, retryable, schema, unique bool) {
	t.Helper()
	if got := Retryable(err); got != retryable {
		t.Errorf("%s: Retryable(%T) = %v", name, err, got)
	}
	if got := errors.Is(Schema(err), ErrSchema); got != schema {
		t.Errorf("%s: Schema(%T) = %v", name, err, Schema(err))
	}
	if !errors.Is(Schema(err), err) || Schema(Schema(err)) != Schema(err) && !schema {
		t.Errorf("%s: Schema(%T) lost its cause", name, err)
	}
	if got := UniqueViolation(err, "t_id_key", "t.id"); got != unique {
		t.Errorf("%s: UniqueViolation(%T) = %v", name, err, got)
	}
}

// Errors of a real server.
func TestErrorsByServer(t *testing.T) {
	db := openPostgres(t, testenv.Postgres(t))
	db.MustExec(`CREATE TABLE t (id integer CONSTRAINT t_id_key UNIQUE)`)
	for name, c := range map[string]struct {
		statement                 string
		retryable, schema, unique bool
	}{
		"table":     {`SELECT 1 FROM nowhere`, false, true, false},
		"column":    {`SELECT nothing FROM t`, false, true, false},
		"schema":    {`SELECT 1 FROM nowhere.t`, false, true, false},
		"duplicate": {`INSERT INTO t VALUES (1), (1)`, false, false, true},
		"lock":      {`LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT`, true, false, false},
		"syntax":    {`SELEKT 1`, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "lock" {
				holder := db.MustBegin()
				defer holder.Rollback()
				holder.MustExec(`LOCK TABLE t IN ACCESS SHARE MODE`)
			}
			tx := db.MustBegin()
			defer tx.Rollback()
			_, err := tx.Exec(c.statement)
			if err == nil {
				t.Fatal("no error")
			}
			check(t, name, err, c.retryable, c.schema, c.unique)
		})
	}
}

func openPostgres(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
