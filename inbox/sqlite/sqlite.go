// Package sqlite opens SQLite files in the way in which the promises of package
// inbox hold. It brings the driver along (github.com/ncruces/go-sqlite3, pure
// Go); the inbox itself works with any.
//
// Whoever opens SQLite in another way has to see to the same: transactions that
// begin immediate, a busy_timeout, journal_mode WAL, synchronous FULL and
// foreign_keys on. Package outbox/sqlite does no other, and says why; a file
// opened by one of the two serves both libraries.
package sqlite

import (
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// Open opens the file at path, and makes it where there is none; its folder has
// to exist. It does not touch the file: what is wrong with it shows when it is
// used first. The path must hold no question mark; databases in memory are not
// supported.
//
// Any number of goroutines and processes of one machine may use a file at once.
// Transactions wait up to ten seconds for those of others, or until their
// context ends.
func Open(path string) (*sqlx.DB, error) { return sqlite.Open(sqlite.URL(path)) }
