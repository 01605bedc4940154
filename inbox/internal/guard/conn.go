package guard

import (
	"context"
	"database/sql/driver"
	"errors"
)

// What database/sql sees of a connection. Everything that drivers may offer is
// handed on, and what one does not offer looks as if it were not there.

type connector struct{ session *Session }

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn{c.session}, nil }
func (c connector) Driver() driver.Driver                        { return noDriver{} }

// noDriver is the driver of connections that cannot be opened by name.
type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("guard: connections are lent, not opened")
}

type conn struct{ s *Session }

var (
	_ driver.ConnBeginTx        = conn{}
	_ driver.ConnPrepareContext = conn{}
	_ driver.ExecerContext      = conn{}
	_ driver.QueryerContext     = conn{}
	_ driver.NamedValueChecker  = conn{}
)

// Close leaves the connection open: it is lent.
func (c conn) Close() error { return nil }

func (c conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

func (c conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	err := c.s.use(ctx, nil, "", func() (err error) {
		if c.s.tx != nil {
			return errors.New("guard: the session has its transaction already")
		}
		if b, ok := c.s.conn.(driver.ConnBeginTx); ok {
			c.s.tx, err = b.BeginTx(ctx, opts)
		} else {
			//lint:ignore SA1019 it is all that the driver has
			c.s.tx, err = c.s.conn.Begin()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return tx{c.s}, nil
}

func (c conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st := &stmt{s: c.s, scope: scopeOf(ctx)}
	release, err := c.s.call(ctx, st.scope, query, func(ctx context.Context) (err error) {
		if p, ok := c.s.conn.(driver.ConnPrepareContext); ok {
			st.inner, err = p.PrepareContext(ctx, query)
		} else {
			st.inner, err = c.s.conn.Prepare(query)
		}
		if err == nil {
			st.scope.holds(st)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	release()
	return st, nil
}

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	execer, ok := c.s.conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	release, err := c.s.call(ctx, scopeOf(ctx), query, func(ctx context.Context) (err error) {
		result, err = execer.ExecContext(ctx, query, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	release()
	return result, nil
}

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	queryer, ok := c.s.conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	return c.s.query(ctx, scopeOf(ctx), query, func(ctx context.Context) (driver.Rows, error) {
		return queryer.QueryContext(ctx, query, args)
	})
}

func (c conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.s.conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// tx is the transaction as database/sql ends it when its context has ended.
type tx struct{ session *Session }

func (t tx) Commit() error   { return t.session.Commit() }
func (t tx) Rollback() error { return t.session.Rollback() }
