package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
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

// maxReruns is how often a transaction is run again that the database ended
// for reasons of its own, such as a deadlock.
const maxReruns = 5

// Once applies msg in a transaction of its own, unless it was applied before:
// claim, apply and commit. It answers Duplicate without calling apply, and
// also after waiting for a copy that was being applied elsewhere. Transactions
// that end in a deadlock or a serialization failure are run again, a few times.
//
// The error of apply comes back as it is (a panic as a PanicError) after the
// rollback; what else: ConflictError, InvalidMessageError, ErrSchema, or the
// database's. After an error of the commit the message may have been applied:
// call Once again and it tells.
func (in *Inbox) Once(ctx context.Context, msg Message, apply func(ctx context.Context, tx Tx) error) (Outcome, error) {
	if err := msg.validate(); err != nil {
		return "", fmt.Errorf("inbox: once: %w", err)
	}
	handler := func(ctx context.Context, tx Tx, _ Message) error { return apply(ctx, tx) }
	for rerun := 1; ; rerun++ {
		claims, err := in.transact(ctx, []Message{msg}, handler, false)
		switch {
		case err == nil && claims[0] == conflicting:
			return "", &ConflictError{Consumer: in.consumer, EventID: msg.ID}
		case err == nil && claims[0] == duplicate:
			return Duplicate, nil
		case err == nil:
			return Processed, nil
		case endedByDatabase(err) && rerun <= maxReruns && pause(ctx, rerun):
		default:
			if e := err.(*txError); e.phase == handling {
				return "", e.err
			}
			return "", fmt.Errorf("inbox: event %s: %w", msg.ID, err)
		}
	}
}

// endedByDatabase reports whether a transaction may simply be run again. One
// that could not even begin has done its waiting.
func endedByDatabase(err error) bool {
	if tx, ok := errors.AsType[*txError](err); ok && tx.phase == beginning {
		return false
	}
	return sqldb.Retryable(err) || errors.Is(err, errVanished)
}

// pause waits a little, longer with each rerun and never the same as others
// do; false means that ctx has ended.
func pause(ctx context.Context, rerun int) bool {
	timer := time.NewTimer(rand.N(time.Duration(rerun) * 5 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
