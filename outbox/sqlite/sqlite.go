// Package sqlite opens SQLite files in the way in which the promises of
// packages outbox and inbox hold. It brings the driver along
// (github.com/ncruces/go-sqlite3, pure Go); the packages themselves work with any.
// It imports neither of them: a service that has only an inbox uses it as well.
//
// Whoever opens SQLite in another way has to see to the same:
//
//   - Transactions begin immediate, that is, they take the lock for writing at
//     their start. One that begins by reading and then writes fails with
//     "database is locked" as soon as another has written in between.
//   - busy_timeout is long enough to wait for the others.
//   - journal_mode is WAL, so that readers and the writer do not wait for one
//     another.
//   - synchronous is FULL, or a commit may be lost with the power.
//   - foreign_keys is on, for tables of your own.
//
// A read-only transaction (sql.TxOptions) should take no lock for writing. The
// SQLite within the driver must be 3.43 or later.
//
// Any number of goroutines and processes may use a file at once, on one machine:
// one writes at a time, so what a transaction does beside the database, such as a
// call to another service, makes all wait. WAL does not work on network
// file systems.
package sqlite

import (
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// Open opens the file at path as the package says, and makes it where there is
// none; its folder has to exist. It does not touch the file: what is wrong
// with it shows when it is used first. The path must hold no question mark; databases in memory
// are not supported.
//
// Transactions wait up to ten seconds for those of others, or until their
// context ends.
func Open(path string) (*sqlx.DB, error) { return sqlite.Open(sqlite.URL(path)) }
