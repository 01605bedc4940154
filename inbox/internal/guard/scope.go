package guard

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/asimalizada/pulse-events/inbox/internal/sqltext"
)

// MisuseError says what a handler did with a transaction that is not its own.
type MisuseError struct {
	Problem string // completes the sentence "handler ..."
	Err     error  // what led to it; nil: nothing
}

func (e *MisuseError) Error() string {
	if e.Err == nil {
		return "handler " + e.Problem
	}
	return fmt.Sprintf("handler %s: %v", e.Problem, e.Err)
}
func (e *MisuseError) Unwrap() error { return e.Err }

// Scope is the use that one handler may make of a session, until it returns.
type Scope struct {
	session *Session
	ctx     context.Context
	late    func(error)

	running atomic.Int32 // calls that are being made
	over    atomic.Bool

	// Guarded by the session.
	open   map[closer]struct{} // rows and statements
	failed error               // of the first call that did
	misuse *MisuseError        // the first
	change string              // the first statement that changes the session
	opaque bool
	told   bool // late was
}

// closer is something of a driver that has to be closed: rows or a statement.
type closer interface {
	close() error // the session is held
}

type scopeKey struct{}

// Context returns ctx as the calls of the scope carry it.
func (sc *Scope) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, sc)
}

func scopeOf(ctx context.Context) *Scope {
	sc, _ := ctx.Value(scopeKey{}).(*Scope)
	return sc
}

type trustKey struct{}

// Trusted returns a context whose statements are ours, and leave the session
// as it was, whoever makes the call.
func Trusted(ctx context.Context) context.Context { return context.WithValue(ctx, trustKey{}, true) }

func trusted(ctx context.Context) bool { return ctx.Value(trustKey{}) != nil }

// End ends the holder's use of the transaction, waits for its running calls, and
// closes the rows and statements that it has left open. It returns the holder's
// first misuse, or nil.
func (sc *Scope) End() *MisuseError {
	running := sc.running.Load() > 0
	sc.over.Store(true)
	sc.session.mu.Lock()
	defer sc.session.mu.Unlock()
	sc.closeOpen()
	if running {
		sc.blame("returned while a statement of its own was still running", nil)
	}
	return sc.misuse
}

// Failed returns the error of the first call that failed, or nil. If the holder
// did not return it, the transaction may be aborted.
func (sc *Scope) Failed() error {
	sc.session.mu.Lock()
	defer sc.session.mu.Unlock()
	return sc.failed
}

// Changed names the first statement that changes the session for those who use
// it next, in this transaction or after it; "" if none was seen.
func (sc *Scope) Changed() string {
	sc.session.mu.Lock()
	defer sc.session.mu.Unlock()
	return sc.change
}

// CheckInTime returns an error if the holder has returned, and reports it.
func (sc *Scope) CheckInTime() error {
	if !sc.over.Load() {
		return nil
	}
	sc.session.mu.Lock()
	defer sc.session.mu.Unlock()
	return sc.usedLate()
}

// blame notes the first misuse; the session is held.
func (sc *Scope) blame(problem string, err error) *MisuseError {
	misuse := &MisuseError{problem, err}
	if sc.misuse == nil {
		sc.misuse = misuse
	}
	return misuse
}

// usedLate returns the error of a call after the holder has returned. Before the
// commit it makes the holder's message fail; afterwards it can only be reported.
// The session is held.
func (sc *Scope) usedLate() error {
	misuse := sc.blame("used its transaction after it had returned", nil)
	if sc.session.tx == nil && sc.late != nil && !sc.told {
		sc.told = true
		sc.late(misuse)
	}
	return misuse
}

// admit checks what a text would do before it is sent; the session is held.
func (sc *Scope) admit(ctx context.Context, query string) error {
	s := sc.session
	effects := sqltext.Read(s.dialect, query, s.quoting)
	if effects.Ends != "" {
		return sc.blame("wanted to send "+effects.Ends+", which was refused: the transaction holds the claim of its message, and maybe those of others; "+
			"it is committed when the handler returns nil, and rolled back when it returns an error", nil)
	}
	if effects.Session == "" && !effects.Opaque {
		return nil
	}
	s.remember(ctx, effects.Settings)
	s.unnamed = s.unnamed || effects.Unnamed
	s.quoting = sqltext.Unknown
	sc.opaque = sc.opaque || effects.Opaque
	if sc.change == "" {
		sc.change = effects.Session
	}
	return nil
}

// bound returns the context of a call to the driver: it ends with the scope's
// until release is called, and with the caller's ctx until returned is. Rows
// whose context has ended are closed by database/sql; a driver that saw it end
// would discard the connection, and with it the transaction.
func (sc *Scope) bound(ctx context.Context) (bounded context.Context, returned, release func()) {
	if sc == nil || ctx.Done() == sc.ctx.Done() { // it carries the scope's and no more
		return ctx, func() {}, func() {}
	}
	bounded, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stopCaller := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	stopScope := context.AfterFunc(sc.ctx, func() { cancel(context.Cause(sc.ctx)) })
	return bounded, func() { stopCaller() }, func() { stopCaller(); stopScope(); cancel(nil) }
}

// holds and gone record what is open; the session is held, and the
// scope may be nil.
func (sc *Scope) holds(c closer) {
	if sc == nil {
		return
	}
	if sc.open == nil {
		sc.open = make(map[closer]struct{})
	}
	sc.open[c] = struct{}{}
}

func (sc *Scope) gone(c closer) {
	if sc != nil {
		delete(sc.open, c)
	}
}

// reads reports whether rows are open; the session is held.
func (sc *Scope) reads() bool {
	for c := range sc.open {
		if _, ok := c.(*rows); ok {
			return true
		}
	}
	return false
}

// closeOpen closes what the holder has left open; the session is held. Errors are
// ignored: the next call on the connection returns them as well.
func (sc *Scope) closeOpen() {
	for c := range sc.open {
		if _, rows := c.(*rows); rows {
			_ = c.close()
		}
	}
	for c := range sc.open { // statements, now that no rows keep them busy
		_ = c.close()
	}
}
