package sqldb

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSchema is matched by errors about a schema that is missing or behind.
var ErrSchema = errors.New("schema missing or behind; migrate first")

// SQLState returns the five-character SQLSTATE of a PostgreSQL error of any
// driver, or "".
func SQLState(err error) string {
	if e := stateError(err); e != nil {
		return e.SQLState()
	}
	return ""
}

// UniqueViolation reports whether err says that a row with the same unique key
// exists. PostgreSQL names the constraint, SQLite the columns (table.column);
// the name is in the text in every language of the server.
func UniqueViolation(err error, constraint, columns string) bool {
	switch SQLState(err) {
	case "23505":
		return mentions(err, constraint)
	case "":
		return mentions(err, "UNIQUE constraint failed: "+columns)
	}
	return false
}

// Explain adds the meaning of err if the database does not make it clear:
// ErrSchema if a table, a column or the schema itself is missing, ErrPooler if
// the driver did not get its own session. Any other error is returned
// unchanged. It is for errors of this project's statements: the caller's SQL
// may lack its own tables.
func Explain(err error) error {
	if Judge(err) == SchemaBehind && !errors.Is(err, ErrSchema) {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	return explainPooler(err)
}

// Schema is the former name of Explain.
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
