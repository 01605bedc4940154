// Package sqldb holds what outbox and inbox share in their use of databases:
// the dialect, the migration runner, and the driver errors that they
// distinguish. It works with any database/sql driver of the two databases.
package sqldb

import (
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Limits of a page of rows, in both libraries and in pulsectl.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Dialect is a database with SQL files in this project.
type Dialect string

// The dialects. Each is also the name of a directory of SQL files.
const (
	PostgreSQL Dialect = "postgres"
	SQLite     Dialect = "sqlite"
)

// ErrDialect is matched by errors about a database that is not supported.
var ErrDialect = errors.New("unsupported database")

// Detect derives the dialect from the name under which a driver is registered
// with database/sql. It fails for drivers wrapped for tracing or metrics: then
// the dialect must be set.
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

// Check reports whether d is a known dialect.
func (d Dialect) Check() error {
	if d == PostgreSQL || d == SQLite {
		return nil
	}
	return fmt.Errorf("%w: dialect %q (have %s, %s)", ErrDialect, string(d), PostgreSQL, SQLite)
}

// ReadCommitted returns the options of a transaction that sees what others have
// committed while it waited for them, even if the database's default isolation
// is stricter. On SQLite only one transaction writes at a time.
func (d Dialect) ReadCommitted() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// ReadOnly is ReadCommitted for transactions that only read, which wait for
// nobody on SQLite.
func (d Dialect) ReadOnly() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true}
	}
	return &sql.TxOptions{ReadOnly: true}
}

// Queries are the SQL files of one package in one dialect, by file name without
// extension.
type Queries map[string]string

// LoadQueries reads every .sql file of root/dialect, without subdirectories.
// The files are embedded, so a failure is a bug in the build: it panics.
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
		queries[name] = withoutComments(string(text))
	}
	return queries
}

// withoutComments removes comment lines, so that they are not sent and do not
// appear in statement statistics.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// Get returns the query of that name. A missing one is a bug in the build: it
// panics.
func (q Queries) Get(name string) string {
	text, ok := q[name]
	if !ok {
		panic("sqldb: no query " + name)
	}
	return text
}
