package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// phase is how far a transaction came.
type phase string

const (
	beginning  phase = "begin"
	claiming   phase = "claim"
	handling   phase = "handle"
	committing phase = "commit"
)

// txError says why a transaction came to nothing.
type txError struct {
	phase phase
	lost  bool // its connection is gone as well
	err   error
}

func (e *txError) Error() string {
	if e.phase == handling {
		return e.err.Error()
	}
	return string(e.phase) + ": " + e.err.Error()
}
func (e *txError) Unwrap() error { return e.err }

// errSlow is the cause of a transaction that was cut because one of the
// inbox's own statements took too long.
var errSlow = errors.New("no answer from the database within the statement timeout")

// PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// transact claims msgs, hands each new one to handler in the order given, and
// commits: all or nothing. With finish the messages' noted starts go in the
// same transaction. The error is a *txError.
func (in *Inbox) transact(ctx context.Context, msgs []Message, handler Handler, finish bool) (claims []claim, err error) {
	ctx, cut := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(in.statementTimeout, func() { cut(errSlow) })
	defer watchdog.Stop()

	conn, tx, err := in.begin(ctx)
	if err != nil {
		defer cut(nil)
		return nil, &txError{phase: beginning, lost: true, err: withCause(ctx, err)}
	}
	defer func() {
		cut(nil)     // ends what a handler left open by ending its goroutine
		conn.Close() // gives it back to the pool, which drops it when it is dead
	}()

	claims, err = in.claim(ctx, tx, msgs)
	if err == nil && finish {
		err = in.finish(ctx, tx, msgs)
	}
	if err != nil {
		return nil, in.rolledBack(tx, claiming, withCause(ctx, err))
	}
	if !watchdog.Stop() { // it has cut ctx this very moment: no handler is to blame for that
		return nil, in.rolledBack(tx, claiming, errSlow)
	}
	for i, msg := range msgs {
		if claims[i] != unseen {
			continue
		}
		err := handler.safely(ctx, tx, msg)
		if err == nil {
			err = in.requireOpen(ctx, tx, msg.ID)
		}
		if err != nil {
			return nil, in.rolledBack(tx, handling, err)
		}
	}
	watchdog.Reset(in.statementTimeout)
	if err := tx.Commit(); err != nil {
		return nil, &txError{phase: committing, lost: !alive(ctx, conn), err: withCause(ctx, err)}
	}
	return claims, nil
}

// begin takes the connection by hand, so that it can be asked afterwards
// whether it is alive.
func (in *Inbox) begin(ctx context.Context) (*sqlx.Conn, *sqlx.Tx, error) {
	conn, err := in.db.Connx(ctx)
	if err != nil {
		return nil, nil, err
	}
	tx, err := conn.BeginTxx(ctx, nil)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, tx, nil
}

// rolledBack ends tx after err. A rollback that cannot be said means that the
// connection is lost, whatever err looks like.
func (in *Inbox) rolledBack(tx *sqlx.Tx, at phase, err error) error {
	rollback := tx.Rollback()
	lost := rollback != nil && !errors.Is(rollback, sql.ErrTxDone) && in.connected()
	return &txError{phase: at, lost: lost, err: err}
}

// probeTimeout bounds the question whether the database is there.
const probeTimeout = 3 * time.Second

// alive asks the connection itself, after a commit that failed.
func alive(ctx context.Context, conn *sqlx.Conn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	return conn.PingContext(ctx) == nil
}

// withCause adds why ctx was cut to an error that only says that it was.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// safely runs the handler with the message's ids in ctx and turns a panic into
// an error.
func (h Handler) safely(ctx context.Context, tx Tx, msg Message) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(msg.context(ctx), tx, msg)
}

// finish removes the noted starts of msgs.
func (in *Inbox) finish(ctx context.Context, tx sqlx.ExecerContext, msgs []Message) error {
	for _, msg := range msgs {
		if _, err := tx.ExecContext(ctx, in.queries.Get("finish"), in.consumer, msg.ID); err != nil {
			return sqldb.Schema(err)
		}
	}
	return nil
}
