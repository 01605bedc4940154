package inbox

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
)

// Tx is the transaction a handler works in: the query and exec half of
// *sqlx.Tx. Commit and rollback are the inbox's; the handler's error decides.
// It serves outbox.Enqueue as it is. Not for concurrent use, nor after the
// handler has returned.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)

	GetContext(ctx context.Context, dest any, query string, args ...any) error
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
	QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error)
	QueryRowxContext(ctx context.Context, query string, args ...any) *sqlx.Row
	NamedExecContext(ctx context.Context, query string, arg any) (sql.Result, error)
	PrepareNamedContext(ctx context.Context, query string) (*sqlx.NamedStmt, error)
	BindNamed(query string, arg any) (string, []any, error)
	Rebind(query string) string
	DriverName() string
}

var _ Tx = (*sqlx.Tx)(nil)

// Handler applies one message inside a transaction that already holds the
// message's claim. nil commits both. An error rolls both back and is a
// verdict: see Retry, DeadLetter, Unavailable. A panic is an error.
//
// ctx carries the message's correlation id, its id as the causation id, and
// its trace context. A handler may run again for a message whose transaction
// came to nothing; only effects made through tx are applied once.
type Handler func(ctx context.Context, tx Tx, msg Message) error

// Outcome says what became of a message.
type Outcome string

// The outcomes.
const (
	Processed Outcome = "processed" // applied now
	Duplicate Outcome = "duplicate" // applied before; nothing was done
)
