package inbox

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox/internal/guard"
)

// Tx is the transaction a handler works in: the query and exec half of
// *sqlx.Tx, with the Mapper of the handle given to New. It serves
// outbox.Enqueue as it is.
//
// The transaction is the inbox's: it holds the claim of the message, and in a
// batch those of its neighbours. What follows from that is checked, not
// trusted:
//
//   - Statements that begin, end or prepare a transaction are not sent. They
//     fail the handler, whatever it returns. Savepoints are a handler's own.
//   - A statement that fails on PostgreSQL aborts the transaction: roll back to
//     a savepoint, or return the error. A handler that ignores it fails with a MisuseError.
//   - What changes the session for others (SET, also LOCAL, set_config, roles,
//     advisory locks, temporary tables, LISTEN, PREPARE, cursors; PRAGMA and
//     ATTACH on SQLite) is allowed. Such a handler runs in a transaction of its
//     own, without batch, and its connection is given up afterwards if anything
//     is left. Prefer SET LOCAL, which leaves nothing.
//   - Rows and statements left open are closed when the handler returns, and
//     after that every use is refused: it fails the message if that is not
//     committed yet, and is logged.
//   - Every statement ends with the handler's context at the latest.
//
// A Tx is not for concurrent use.
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

// Handler applies one message inside a transaction that already holds the
// message's claim. nil commits both. An error rolls both back and is a
// verdict: see Retry, DeadLetter, Unavailable. A panic is an error, and so is
// leaving by runtime.Goexit.
//
// ctx carries the message's correlation id, its id as the causation id, and
// a trace, see the package's text. It ends with ConsumerConfig.HandlerTimeout, and otherwise
// with the transaction, not with the handler. A handler may run again for a
// message whose transaction came to nothing; only effects made through tx are
// applied once.
type Handler func(ctx context.Context, tx Tx, msg Message) error

// MisuseError says which rule of Tx a handler has broken, such as that it may not
// end the transaction. It fails the message as any other error does.
type MisuseError = guard.MisuseError

// handlerTx is what handlers get: a transaction without its end. The rules are
// enforced by the session below it, which knows the calls by their scope.
type handlerTx struct {
	tx    *sqlx.Tx
	scope *guard.Scope
}

var _ Tx = (*handlerTx)(nil)

func (t *handlerTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.ExecContext(t.scope.Context(ctx), query, args...)
}

func (t *handlerTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.QueryContext(t.scope.Context(ctx), query, args...)
}

// QueryRowContext cannot return an error of ours, as nobody else can make a
// *sql.Row: the session refuses the call, or database/sql, once the transaction
// has ended.
func (t *handlerTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	_ = t.scope.CheckInTime()
	return t.tx.QueryRowContext(t.scope.Context(ctx), query, args...)
}

func (t *handlerTx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.PrepareContext(t.scope.Context(ctx), query)
}

func (t *handlerTx) GetContext(ctx context.Context, dest any, query string, args ...any) error {
	if err := t.scope.CheckInTime(); err != nil {
		return err
	}
	return t.tx.GetContext(t.scope.Context(ctx), dest, query, args...)
}

func (t *handlerTx) SelectContext(ctx context.Context, dest any, query string, args ...any) error {
	if err := t.scope.CheckInTime(); err != nil {
		return err
	}
	return t.tx.SelectContext(t.scope.Context(ctx), dest, query, args...)
}

func (t *handlerTx) QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.QueryxContext(t.scope.Context(ctx), query, args...)
}

func (t *handlerTx) QueryRowxContext(ctx context.Context, query string, args ...any) *sqlx.Row {
	_ = t.scope.CheckInTime()
	return t.tx.QueryRowxContext(t.scope.Context(ctx), query, args...)
}

func (t *handlerTx) NamedExecContext(ctx context.Context, query string, arg any) (sql.Result, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.NamedExecContext(t.scope.Context(ctx), query, arg)
}

func (t *handlerTx) PrepareNamedContext(ctx context.Context, query string) (*sqlx.NamedStmt, error) {
	if err := t.scope.CheckInTime(); err != nil {
		return nil, err
	}
	return t.tx.PrepareNamedContext(t.scope.Context(ctx), query)
}

func (t *handlerTx) BindNamed(query string, arg any) (string, []any, error) {
	return t.tx.BindNamed(query, arg)
}

func (t *handlerTx) Rebind(query string) string { return t.tx.Rebind(query) }
func (t *handlerTx) DriverName() string         { return t.tx.DriverName() }
