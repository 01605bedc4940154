package sqldb

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSchema is matched by errors about a schema that is missing or behind.
var ErrSchema = errors.New("schema missing or behind; migrate first")

// SQLState returns the five-character SQLSTATE of a PostgreSQL error,
// whichever driver raised it, or "".
func SQLState(err error) string {
	if e := stateError(err); e != nil {
		return e.SQLState()
	}
	return ""
}

// UniqueViolation reports whether err says that a row with the same unique key
// is there already. PostgreSQL names the constraint, SQLite the columns
// (table.column): whatever the server's language, the name is in the text.
func UniqueViolation(err error, constraint, columns string) bool {
	switch SQLState(err) {
	case "23505":
		return mentions(err, constraint)
	case "":
		return mentions(err, "UNIQUE constraint failed: "+columns)
	}
	return false
}

// Explain adds to err what it means and what to do where the database does not
// say: ErrSchema where a table, a column or the schema itself is missing,
// ErrPooler where a session is not the driver's own. Any other error it returns
// as it is. It is for errors of our own statements: the caller's SQL may lack
// tables of its own.
func Explain(err error) error {
	if Judge(err) == SchemaBehind && !errors.Is(err, ErrSchema) {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	return explainPooler(err)
}

// Schema is Explain by its old name.
func Schema(err error) error { return Explain(err) }

func explainPooler(err error) error {
	if Judge(err) == Pooled && !errors.Is(err, ErrPooler) {
		return fmt.Errorf("%w: %w", ErrPooler, err)
	}
	return err
}

var missingInSQLite = []string{"no such table", "no such column", "has no column named"}

func mentions(err error, texts ...string) bool {
	for _, text := range texts {
		if err != nil && strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
