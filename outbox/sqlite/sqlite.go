// Package sqlite opens SQLite files with the settings that packages outbox and inbox
// need for their guarantees. It includes the driver (github.com/ncruces/go-sqlite3,
// pure Go); the packages themselves work with any driver. It serves both and imports
// neither.
//
// If you open SQLite in another way, use the same settings:
//
//   - Transactions begin immediate, that is, they take the lock for writing at
//     their start. One that begins by reading and then writes fails with
//     "database is locked" as soon as another has written in between.
//   - busy_timeout is long enough to wait for other writers.
//   - journal_mode is WAL, so that readers and the writer do not wait for each
//     other.
//   - synchronous is FULL, or commits may be lost when the power fails.
//   - foreign_keys is on, for tables of your own.
//
// A read-only transaction (sql.TxOptions) should take no lock for writing. The
// SQLite within the driver must be 3.43 or later.
//
// Any number of goroutines and processes on one machine may use a file at the same
// time. Only one writes at a time, so a transaction that calls another service makes
// all others wait. WAL does not work on network file systems.
package sqlite

import (
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// Open opens the file at path with the settings above. The file is created when it is
// first used, in a folder that must exist; errors of the file are returned then. The
// path must not contain a question mark. Databases in memory are not supported.
//
// Transactions wait up to ten seconds for those of others, or until their
// context ends.
func Open(path string) (*sqlx.DB, error) { return sqlite.Open(sqlite.URL(path)) }
