package inbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox/internal/guard"
	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// phase is how far a transaction came.
type phase string

const (
	beginning  phase = "begin"
	claiming   phase = "claim"
	handling   phase = "handle"
	verifying  phase = "verify"
	committing phase = "commit"

	// For handlers that claim for themselves.
	unclaimed  phase = "before the claim" // or the claim itself has failed
	confirming phase = "confirm"          // checking whether the claim is committed
)

// txError says why a transaction failed.
type txError struct {
	phase phase
	lost  bool // its connection is gone as well
	err   error
	// stray are the event ids whose claims were committed all the same, by
	// code other than ours: with what effect is not known.
	stray []string
}

func (e *txError) Error() string {
	if e.phase == handling || e.phase == unclaimed {
		return e.err.Error()
	}
	return string(e.phase) + ": " + e.err.Error()
}
func (e *txError) Unwrap() error { return e.err }

// errSlow is the cause of a transaction that was cut because one of the
// inbox's own statements took too long.
const errSlow = health.Public("no answer from the database within the statement timeout")

// aloneError says that a handler cannot share its transaction with others. It is
// not a failure.
type aloneError struct{ change string }

func (e *aloneError) Error() string {
	return "the handler changes its session (" + e.change + "), which others must not see"
}

// txOptions say how a transaction calls handlers.
type txOptions struct {
	handler Handler
	finish  bool          // the recorded starts of the messages are deleted in the same transaction
	wait    time.Duration // for a copy that is being applied elsewhere
	limit   time.Duration // of a handler's context; 0: none of its own
	// supervise returns the supervisor that calls the handlers outside of the
	// goroutine that runs the transaction; nil: they are called directly.
	supervise func(ctx context.Context) *supervisor
	// late, which may be nil, is called when a handler uses its Tx after the
	// commit.
	late func(msg Message, err error)
}

// idle bounds the time between two statements: no handler may take longer, and a
// process that is frozen or dead must not hold its claims for ever.
func (o txOptions) idle() time.Duration {
	if o.limit == 0 {
		return 0
	}
	return o.limit + idleMargin
}

// idleMargin is added to a handler's time limit.
const idleMargin = 15 * time.Second

// transaction is a transaction in which messages are claimed and handled.
type transaction struct {
	in        *Inbox
	opts      txOptions
	msgs      []Message
	session   *guard.Session
	tx        *sqlx.Tx // on the session
	claims    *claimResult
	savepoint string       // see mark
	scope     *guard.Scope // of the handler that was called last
	ends      []func()     // of the handlers' contexts
	changed   []string     // what a handler changed of the session
	unfit     bool         // the connection must not be used again
}

// transact claims msgs, hands each new one to the handler in the order given,
// and commits: all or nothing. The error is a *txError, or an *aloneError if
// one of several has to run by itself.
func (in *Inbox) transact(ctx context.Context, msgs []Message, opts txOptions) (*transaction, error) {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	watchdog := time.AfterFunc(in.statementTimeout, func() { cut(errSlow) })
	defer watchdog.Stop()
	t := &transaction{in: in, opts: opts, msgs: msgs}
	err := t.borrow(ctx, func() error { return t.run(ctx, watchdog) })
	if err == nil {
		return t, nil
	}
	if failed, ok := errors.AsType[*txError](err); ok && errors.Is(failed.err, errReplaced) {
		failed.stray = in.stray(ctx, t.claims.fresh)
	}
	return nil, err
}

// borrow runs do in a transaction on a connection of the pool, through a session.
// Connections that were lost in the pool are skipped.
func (t *transaction) borrow(ctx context.Context, do func() error) error {
	db := t.in.db
	for tries := db.Stats().Idle; ; tries-- {
		conn, err := sqldb.Acquire(ctx, db)
		if err != nil {
			return &txError{phase: beginning, lost: true, err: withCause(ctx, err)}
		}
		begun := false
		var failed error
		lent := conn.Raw(func(dc any) error {
			t.session = guard.Open(dc.(driver.Conn), t.in.dialect, t.in.snapshot)
			defer t.session.Close() // also where a handler ends this goroutine
			defer t.end()
			handle := *t.in.lent
			handle.DB = t.session.DB()
			if t.tx, failed = handle.BeginTxx(ctx, nil); failed == nil {
				begun = true
				failed = do()
			}
			if !t.session.Close() || t.unfit {
				return driver.ErrBadConn
			}
			return nil
		})
		sqldb.Release(db, conn, errors.Join(failed, lent))
		if begun || failed == nil {
			return failed
		}
		if died := sqldb.Judge(failed) == sqldb.Lost || sqldb.Judge(failed) == sqldb.Outage && t.in.connected(); !died || tries <= 0 || ctx.Err() != nil {
			return &txError{phase: beginning, lost: true, err: withCause(ctx, failed)}
		}
	}
}

// end ends the contexts of the handlers.
func (t *transaction) end() {
	for _, end := range t.ends {
		end()
	}
}

func (t *transaction) run(ctx context.Context, watchdog *time.Timer) (err error) {
	t.claims, err = t.in.claim(ctx, t.tx, t.msgs, bounds{lock: t.opts.wait, idle: t.opts.idle()})
	if err == nil && t.opts.finish {
		err = t.in.finish(ctx, t.tx, t.msgs)
	}
	if err == nil {
		err = t.mark(ctx)
	}
	if err != nil {
		return t.failed(ctx, claiming, withCause(ctx, locked(ctx, err)))
	}
	if !watchdog.Stop() { // it has just cut ctx, which is no handler's fault
		return t.failed(ctx, claiming, errSlow)
	}
	if t.claims.escapes {
		t.session.Escapes()
	}
	t.session.Expect("setting idle_in_transaction_session_timeout", t.claims.idleTimeout)
	if err := t.handleAll(ctx); err != nil {
		return t.failed(ctx, handling, err)
	}
	watchdog.Reset(t.in.statementTimeout)
	if err := t.check(ctx); err != nil {
		return t.failed(ctx, verifying, withCause(ctx, err))
	}
	return t.commit(ctx)
}

// caller calls the handler of a message. The context is the one that the handler
// works with.
type caller func(limited context.Context, msg Message, handle func() error) error

// handleAll lends the transaction to the handlers, one after the other.
func (t *transaction) handleAll(ctx context.Context) error {
	if len(t.claims.fresh) == 0 {
		return nil
	}
	if t.opts.supervise == nil {
		return t.handleEach(ctx, func(_ context.Context, _ Message, handle func() error) error { return safely(handle) })
	}
	s := t.opts.supervise(ctx)
	err := s.all(func() error { return t.handleEach(ctx, s.each) })
	if err != nil && t.scope != nil {
		t.scope.End() // for a handler that ended its goroutine, or did not return
	}
	return err
}

func (t *transaction) handleEach(ctx context.Context, call caller) error {
	for i, msg := range t.msgs {
		if t.claims.states[i] != unseen {
			continue
		}
		if err := t.handle(ctx, msg, call); err != nil {
			return err
		}
	}
	return nil
}

// handle lends the transaction to the handler of one message.
func (t *transaction) handle(ctx context.Context, msg Message, call caller) error {
	limited, end := ctx, func() {}
	if t.opts.limit > 0 {
		limited, end = context.WithTimeout(ctx, t.opts.limit)
	}
	t.ends = append(t.ends, end)
	var late func(error)
	if t.opts.late != nil {
		late = func(err error) { t.opts.late(msg, err) }
	}
	scope := t.session.Lend(limited, late)
	t.scope = scope
	err := call(limited, msg, func() error {
		return t.opts.handler(msg.context(limited), &handlerTx{t.tx, scope}, msg)
	})
	if errors.Is(err, errLeft) {
		return err // the transaction may still be in use
	}
	if misuse := scope.End(); misuse != nil {
		if _, told := errors.AsType[*MisuseError](err); !told {
			err = errors.Join(misuse, err)
		}
	}
	switch {
	case err != nil:
		return err
	case scope.Failed() != nil:
		return t.poisoned(ctx, scope.Failed())
	case scope.Changed() != "" && len(t.msgs) > 1:
		return &aloneError{scope.Changed()}
	case scope.Changed() != "":
		t.changed = append(t.changed, scope.Changed())
	}
	return nil
}

// poisoned checks whether an error that a handler did not return has aborted the
// transaction. It has not if the handler rolled back to a savepoint.
func (t *transaction) poisoned(ctx context.Context, swallowed error) error {
	_, err := t.tx.ExecContext(ctx, "SELECT 1")
	if sqldb.SQLState(err) == "25P02" { // in_failed_sql_transaction
		return &MisuseError{Problem: "did not return the error of a statement, which has aborted the transaction", Err: swallowed}
	}
	return err
}

// check checks the transaction after the handlers and before the commit.
func (t *transaction) check(ctx context.Context) error {
	if len(t.claims.fresh) == 0 {
		return nil
	}
	changes, err := t.session.Changes(ctx)
	if err != nil {
		return err
	}
	// Advisory locks do not affect other handlers in the same session.
	changes = slices.DeleteFunc(changes, func(name string) bool { return strings.HasPrefix(name, "advisory lock") })
	if len(changes) > 0 && len(t.msgs) > 1 {
		return &aloneError{strings.Join(changes, ", ")}
	}
	if len(changes) > 0 {
		t.changed = changes // says more than the statement
	}
	if len(t.changed) > 0 && t.in.dialect == sqldb.PostgreSQL {
		return t.verifyNumber(ctx)
	}
	switch err := t.verify(ctx); {
	case errors.Is(err, errChanged) && len(t.msgs) > 1:
		return &aloneError{"by a trigger, or a function"}
	case errors.Is(err, errChanged):
		t.changed, t.unfit = append(t.changed, "by a trigger, or a function"), true
		return nil
	case sqldb.SQLState(err) == "25P02":
		return &MisuseError{Problem: "did not return the error of a statement, which has aborted the transaction", Err: err}
	default:
		return err
	}
}

// commit commits, and checks whether the session can be used again.
func (t *transaction) commit(ctx context.Context) error {
	err := t.session.Commit()
	if _, misused := errors.AsType[*MisuseError](err); misused {
		return t.failed(ctx, handling, err)
	}
	if err != nil {
		probe, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		lost := t.session.Ping(probe) != nil
		return t.blame(&txError{phase: committing, lost: lost, err: withCause(ctx, err)})
	}
	t.inspect(ctx)
	return nil
}

// inspect checks whether the session is as it was, after the end of the
// transaction. Some changes outlast it, and even a rollback.
func (t *transaction) inspect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	left, err := t.session.Changes(ctx)
	if err != nil || len(left) > 0 || t.in.dialect == sqldb.SQLite && t.session.Touched() {
		t.unfit = true
	}
}

// failed ends the transaction after err. If the rollback fails the connection is
// lost, whatever err says.
func (t *transaction) failed(ctx context.Context, at phase, err error) error {
	lost := t.session.Rollback() != nil && t.in.connected()
	if !lost {
		t.inspect(ctx)
	}
	if alone, ok := errors.AsType[*aloneError](err); ok {
		return alone
	}
	if errors.Is(err, errReplaced) || errors.Is(err, errUnclaimed) {
		t.unfit = true
		err = &MisuseError{Problem: "has undone what was claimed", Err: err}
	}
	return t.blame(&txError{phase: at, lost: lost, err: err})
}

// blame adds that the database ended the transaction because the handler idled.
func (t *transaction) blame(failed *txError) error {
	if failed.phase == beginning || failed.phase == claiming {
		return failed
	}
	limit := t.claims.idles
	if sqldb.Judge(failed.err) == sqldb.Idled || failed.lost && ranOut(t.session.Idle(), limit) {
		failed.err = &IdleTransactionError{Limit: limit, Err: failed.err}
	}
	return failed
}

// probeTimeout bounds a check whether the database answers.
const probeTimeout = 3 * time.Second

// withCause adds the cause of the end of ctx to an error that does not say it.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// finish deletes the recorded starts of msgs.
func (in *Inbox) finish(ctx context.Context, tx sqlx.ExecerContext, msgs []Message) error {
	query, err := in.store.Query(ctx, tx, "finish")
	if err != nil {
		return err
	}
	for _, msg := range msgs {
		if _, err := tx.ExecContext(ctx, query, in.consumer, msg.ID); err != nil {
			return in.store.Failed(err)
		}
	}
	return nil
}
