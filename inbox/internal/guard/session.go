// Package guard lets handlers use a transaction and keeps them from ending it.
//
// The transaction belongs to the inbox: it holds the claims of one or many
// messages, and the inbox ends it. Handlers read and write in it with the types
// of database/sql, which return statements and rows that can outlive the handler.
// So the check is made below them: a [Session] stands between database/sql and
// one connection of the driver, sees every call, and knows for which handler it
// is made (a [Scope]).
package guard

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox/internal/sqltext"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Session is one connection of a driver for the length of one transaction. It
// makes sure that the transaction is ended once, by Commit or Rollback, and that
// the connection is not used after Close.
type Session struct {
	dialect  sqldb.Dialect
	snapshot *Snapshot
	conn     driver.Conn
	db       *sql.DB

	mu      sync.Mutex // held while conn is used; guards what follows
	tx      driver.Tx  // nil: not begun, or ended
	ended   error      // why the transaction has ended without Commit or Rollback
	closed  bool
	broken  bool // the connection cannot be used again
	quoting sqltext.Quoting
	scopes  []*Scope
	before  state         // of the session before it may have been changed; nil: it was not
	names   []string      // of settings that are listed besides
	unnamed bool          // a setting was changed whose name is not known
	expect  state         // values that replace those of before; see Expect
	used    time.Time     // when the last call returned; zero outside of the transaction
	idle    time.Duration // longest time between two calls
}

// Open takes conn, which nobody else may use until Close.
func Open(conn driver.Conn, d sqldb.Dialect, snapshot *Snapshot) *Session {
	s := &Session{dialect: d, snapshot: snapshot, conn: conn}
	s.db = sql.OpenDB(connector{s})
	s.db.SetMaxOpenConns(1)
	return s
}

// DB returns a handle on the connection. Begin the one transaction with it; end it
// with the session. Calls without a scope in their context are the inbox's own.
func (s *Session) DB() *sql.DB { return s.db }

// Escapes says that the session reads backslashes in '...' as escapes.
func (s *Session) Escapes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quoting = sqltext.Backslash
}

// Lend returns a scope for the holder of ctx, which bounds every call it makes.
// late, which may be nil, is called when a call comes after the end of the
// transaction.
func (s *Session) Lend(ctx context.Context, late func(error)) *Scope {
	sc := &Scope{session: s, ctx: ctx, late: late}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = append(s.scopes, sc)
	return sc
}

// Commit commits, unless a scope was misused that has ended before: then the
// error is a MisuseError, and the transaction is as it was.
func (s *Session) Commit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.scopes {
		if sc.misuse != nil {
			return sc.misuse
		}
	}
	switch {
	case s.ended != nil:
		return s.ended
	case s.tx == nil || s.closed:
		return sql.ErrTxDone
	}
	s.waited()
	tx := s.tx
	s.tx, s.used = nil, time.Time{}
	return tx.Commit()
}

// Rollback rolls back what is not ended.
func (s *Session) Rollback() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rollback()
}

func (s *Session) rollback() error {
	if s.tx == nil || s.closed {
		return nil
	}
	s.waited()
	tx := s.tx
	s.tx, s.used = nil, time.Time{}
	if s.ended != nil {
		return nil
	}
	err := tx.Rollback()
	if err != nil {
		s.broken = true // it may be in a transaction still
	}
	return err
}

// Close rolls back what is not ended and does not use the connection from now
// on. False: it is not as it was and must be closed.
func (s *Session) Close() (fit bool) {
	s.mu.Lock()
	for _, sc := range s.scopes {
		sc.over.Store(true)
		sc.closeOpen()
	}
	_ = s.rollback() // noted in broken
	s.closed = true
	fit = !s.broken
	s.mu.Unlock()
	_ = s.db.Close() // closes nothing of ours
	return fit
}

// Touched reports whether a scope has sent a statement that changes the session.
func (s *Session) Touched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.scopes, func(sc *Scope) bool { return sc.change != "" })
}

// Idle returns the longest time for which the transaction was open and nothing
// was asked of the database.
func (s *Session) Idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited()
	return s.idle
}

// waited notes how long the transaction has been idle; s.mu is held.
func (s *Session) waited() {
	if !s.used.IsZero() {
		s.idle = max(s.idle, time.Since(s.used))
	}
}

// Ping asks the connection itself whether it is alive.
func (s *Session) Ping(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return driver.ErrBadConn
	}
	if p, ok := s.conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	_, err := s.rows(ctx, "SELECT 1")
	return err
}

// call runs f, which uses the connection, on behalf of a scope, or of us if that
// is nil. query is what f sends, if that is new. What f has begun, such as the
// reading of rows, ends with the scope's time, until release is called; after an
// error it need not be.
func (s *Session) call(ctx context.Context, sc *Scope, query string, f func(ctx context.Context) error) (release func(), err error) {
	bounded, returned, release := sc.bound(ctx)
	defer returned()
	if err := s.use(ctx, sc, query, func() error { return f(bounded) }); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// use is call without a context of its own for f.
func (s *Session) use(ctx context.Context, sc *Scope, query string, f func() error) error {
	if sc != nil {
		sc.running.Add(1)
		defer sc.running.Add(-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.permit(ctx, sc, query); err != nil {
		return err
	}
	s.waited()
	err := f()
	if s.tx != nil {
		s.used = time.Now()
	}
	return s.judge(sc, err)
}

// permit says why a call may not be made, or nil; s.mu is held.
func (s *Session) permit(ctx context.Context, sc *Scope, query string) error {
	switch {
	case sc != nil && sc.over.Load():
		return sc.usedLate()
	case s.closed:
		return driver.ErrBadConn
	case s.ended != nil:
		return s.ended
	case sc == nil || query == "" || trusted(ctx):
		return nil
	}
	return sc.admit(ctx, query)
}

// judge records what an error of the driver means, and returns it; s.mu is held.
func (s *Session) judge(sc *Scope, err error) error {
	if err == nil || internalError(err) {
		return err
	}
	if s.dialect == sqldb.SQLite && s.tx != nil && s.ended == nil && !s.inTransaction() {
		s.ended = &MisuseError{Problem: "did not return the error of a statement, which has ended the transaction", Err: err}
	}
	if sc == nil {
		return err
	}
	if sc.failed == nil {
		sc.failed = err
	}
	if errors.Is(err, driver.ErrBadConn) && sc.reads() {
		return &busyError{err}
	}
	return err
}

// internalError reports whether an error is one by which drivers and database/sql
// communicate, and not the database's.
func internalError(err error) bool { return errors.Is(err, driver.ErrSkip) || errors.Is(err, io.EOF) }

// busyError explains what pgx says of a connection whose last rows were not
// read to their end.
type busyError struct{ err error }

func (e *busyError) Error() string {
	return "rows that are still open may keep the connection busy: " + e.err.Error()
}
func (e *busyError) Unwrap() error { return e.err }
