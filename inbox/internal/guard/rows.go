package guard

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"
)

// rows are the rows of a query. The context of the query lasts until they are
// closed.
type rows struct {
	s       *Session
	scope   *Scope
	inner   driver.Rows
	release func()
	closed  bool // guarded by the session
}

var (
	_ driver.RowsNextResultSet              = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeLength           = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
	_ driver.RowsColumnTypePrecisionScale   = (*rows)(nil)
)

// query runs f for rows.
func (s *Session) query(ctx context.Context, sc *Scope, text string, f func(ctx context.Context) (driver.Rows, error)) (driver.Rows, error) {
	r := &rows{s: s, scope: sc}
	release, err := s.call(ctx, sc, text, func(ctx context.Context) (err error) {
		if r.inner, err = f(ctx); err == nil {
			sc.holds(r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r.release = release
	return r, nil
}

func (r *rows) Columns() []string { return r.inner.Columns() }

func (r *rows) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.close()
}

func (r *rows) close() error {
	if r.closed || r.s.closed {
		return nil
	}
	r.closed = true
	r.scope.gone(r)
	err := r.inner.Close()
	if r.release != nil {
		r.release()
	}
	return err
}

func (r *rows) Next(dest []driver.Value) error {
	return r.s.use(context.Background(), r.scope, "", func() error {
		if r.closed {
			return io.EOF
		}
		return r.inner.Next(dest)
	})
}

func (r *rows) HasNextResultSet() bool {
	n, ok := r.inner.(driver.RowsNextResultSet)
	return ok && n.HasNextResultSet()
}

func (r *rows) NextResultSet() error {
	n, ok := r.inner.(driver.RowsNextResultSet)
	if !ok {
		return io.EOF
	}
	return r.s.use(context.Background(), r.scope, "", func() error {
		if r.closed {
			return io.EOF
		}
		return n.NextResultSet()
	})
}

func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if t, ok := r.inner.(driver.RowsColumnTypeScanType); ok {
		return t.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if t, ok := r.inner.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return t.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

func (r *rows) ColumnTypeLength(i int) (int64, bool) {
	if t, ok := r.inner.(driver.RowsColumnTypeLength); ok {
		return t.ColumnTypeLength(i)
	}
	return 0, false
}

func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	if t, ok := r.inner.(driver.RowsColumnTypeNullable); ok {
		return t.ColumnTypeNullable(i)
	}
	return false, false
}

func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	if t, ok := r.inner.(driver.RowsColumnTypePrecisionScale); ok {
		return t.ColumnTypePrecisionScale(i)
	}
	return 0, 0, false
}
