// Package sqldb is what outbox and inbox share of their databases: the
// dialect, the migration runner, and the few driver errors they tell apart.
// It works with any database/sql driver of the two databases.
package sqldb

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Dialect names a database whose SQL files we carry.
type Dialect string

// The dialects. Each is also the name of a folder of SQL files.
const (
	PostgreSQL Dialect = "postgres"
	SQLite     Dialect = "sqlite"
)

// ErrDialect is matched by errors about a database that is not supported.
var ErrDialect = errors.New("unsupported database")

// Detect guesses the dialect from the name under which a driver is registered
// with database/sql. Drivers wrapped for tracing or metrics defeat it: then
// the dialect has to be said.
func Detect(driverName string) (Dialect, error) {
	name := strings.ToLower(driverName)
	switch {
	case strings.Contains(name, "pgx"), strings.Contains(name, "postgres"), name == "pq":
		return PostgreSQL, nil
	case strings.Contains(name, "sqlite"):
		return SQLite, nil
	}
	return "", fmt.Errorf("%w: cannot tell the dialect from driver name %q", ErrDialect, driverName)
}

// Check reports whether d is a dialect we know.
func (d Dialect) Check() error {
	if d == PostgreSQL || d == SQLite {
		return nil
	}
	return fmt.Errorf("%w: dialect %q (have %s, %s)", ErrDialect, string(d), PostgreSQL, SQLite)
}

// Queries are the SQL files of one package in one dialect, by file name
// without its ending.
type Queries map[string]string

// LoadQueries reads every .sql file of root/dialect (not of its sub-folders).
// The files are embedded, so a failure is a defect of the build: it panics.
func LoadQueries(files embed.FS, root string, d Dialect) Queries {
	dir := path.Join(root, string(d))
	entries, err := files.ReadDir(dir)
	if err != nil {
		panic(fmt.Sprintf("sqldb: %v", err))
	}
	queries := make(Queries)
	for _, e := range entries {
		name, isSQL := strings.CutSuffix(e.Name(), ".sql")
		if e.IsDir() || !isSQL {
			continue
		}
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(fmt.Sprintf("sqldb: %v", err))
		}
		queries[name] = string(text)
	}
	return queries
}

// Get returns the query of that name. A missing one is a defect of the build:
// it panics.
func (q Queries) Get(name string) string {
	text, ok := q[name]
	if !ok {
		panic("sqldb: no query " + name)
	}
	return text
}

// SQLState returns the five-letter SQLSTATE of a PostgreSQL error, whichever
// driver raised it, or "".
func SQLState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// Retryable reports whether the database itself ended the transaction so that
// it may be run again from its start: a deadlock, a serialization failure, a
// lock timeout; on SQLite, a busy database.
func Retryable(err error) bool {
	switch SQLState(err) {
	case "40001", "40P01", "55P03":
		return true
	}
	return sqliteBusy(err)
}

func sqliteBusy(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "database is locked") || strings.Contains(err.Error(), "SQLITE_BUSY"))
}

// Schema marks err with ErrSchema where it says that a table or column is
// missing, and returns any other error as it is.
func Schema(err error) error {
	if err == nil || errors.Is(err, ErrSchema) {
		return err
	}
	state := SQLState(err)
	text := err.Error()
	if slices.Contains([]string{"42P01", "42703", "3F000"}, state) ||
		strings.Contains(text, "no such table") || strings.Contains(text, "no such column") {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	return err
}
