package guard

import (
	"context"
	"database/sql/driver"
	"errors"
)

// stmt is a prepared statement of a scope, or of ours if that is nil.
type stmt struct {
	s      *Session
	scope  *Scope
	inner  driver.Stmt
	closed bool // guarded by the session
}

var (
	_ driver.StmtExecContext   = (*stmt)(nil)
	_ driver.StmtQueryContext  = (*stmt)(nil)
	_ driver.NamedValueChecker = (*stmt)(nil)
)

func (st *stmt) NumInput() int { return st.inner.NumInput() }

func (st *stmt) Close() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.close()
}

func (st *stmt) close() error {
	if st.closed || st.s.closed {
		return nil
	}
	st.closed = true
	st.scope.gone(st)
	return st.inner.Close()
}

// errNoContext: database/sql prefers the variants with a context.
var errNoContext = errors.New("guard: not without a context")

func (st *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }
func (st *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, errNoContext }

func (st *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (result driver.Result, err error) {
	release, err := st.s.call(ctx, st.scope, "", func(ctx context.Context) (err error) {
		if st.closed {
			return errClosed
		}
		if e, ok := st.inner.(driver.StmtExecContext); ok {
			result, err = e.ExecContext(ctx, args)
			return err
		}
		values, err := plainValues(args)
		if err == nil {
			//lint:ignore SA1019 it is all that the driver has
			result, err = st.inner.Exec(values)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	release()
	return result, nil
}

func (st *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return st.s.query(ctx, st.scope, "", func(ctx context.Context) (driver.Rows, error) {
		if st.closed {
			return nil, errClosed
		}
		if q, ok := st.inner.(driver.StmtQueryContext); ok {
			return q.QueryContext(ctx, args)
		}
		values, err := plainValues(args)
		if err != nil {
			return nil, err
		}
		//lint:ignore SA1019 it is all that the driver has
		return st.inner.Query(values)
	})
}

func (st *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := st.inner.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return conn{st.s}.CheckNamedValue(v)
}

// errClosed: the statement was closed when its handler returned.
var errClosed = errors.New("guard: the statement is closed")

func plainValues(args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errors.New("the driver does not support named parameters")
		}
		values[i] = a.Value
	}
	return values, nil
}
