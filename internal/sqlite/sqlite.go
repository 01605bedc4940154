// Package sqlite opens SQLite with the settings that the guarantees of outbox
// and inbox need: every write transaction takes its lock at the start, waits
// for others instead of failing, and is on disk when it has committed. It is
// the only package that imports the driver.
package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jmoiron/sqlx"
)

// driverName is the registered name of the driver, by which sqlx knows its
// placeholders.
const driverName = "sqlite3"

const scheme = "sqlite:"

// busyTimeout, in milliseconds, is how long a transaction waits for those of
// other connections and processes.
const busyTimeout = 10_000

// maxConns is the size of a pool. One connection writes at a time; the others
// can read meanwhile.
const maxConns = 8

// URL returns the database URL of a file.
func URL(path string) string { return scheme + path }

// IsURL reports whether raw names a SQLite file.
func IsURL(raw string) bool { return strings.HasPrefix(raw, scheme) }

// Path returns the file that raw names.
func Path(raw string) string { return strings.TrimPrefix(raw, scheme) }

// Open opens the file that raw names (sqlite:/path/to/file.db), and creates it
// if it does not exist; its directory must exist. Several processes can open
// the same file.
//
// A program that opens SQLite in another way must set the same:
// journal_mode=WAL, synchronous=FULL, busy_timeout, foreign_keys, and
// transactions that begin immediate. A deferred one that reads and then writes
// fails with "database is locked" as soon as another writes in between.
func Open(raw string) (*sqlx.DB, error) {
	if err := Validate(raw); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	path, err := filepath.Abs(Path(raw))
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	settings := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyTimeout), // first: the others may have to wait
			"journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		},
	}
	dsn := url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: settings.Encode()}
	named, err := sql.Open(driverName, dsn.String()) // finds the driver, connects to nothing
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	c, err := named.Driver().(driver.DriverContext).OpenConnector(dsn.String())
	if err := errors.Join(err, named.Close()); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db := sqlx.NewDb(sql.OpenDB(connector{c}), driverName)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	return db, nil
}

// Validate returns what is wrong with raw, or nil. It does not access the file.
func Validate(raw string) error {
	switch path, found := strings.CutPrefix(raw, scheme); {
	case !built:
		return errors.New("URL: names SQLite, and this program was built without it (tag nosqlite); expected postgres://")
	case !found:
		return fmt.Errorf("URL: does not begin with %s; expected sqlite:/path/to/file.db", scheme)
	case path == "":
		return errors.New("URL: names no file; expected sqlite:/path/to/file.db")
	case strings.Contains(path, "?"), strings.Contains(path, ":memory:"):
		return errors.New("URL: parameters and :memory: are not supported; expected sqlite:/path/to/file.db")
	}
	return nil
}
