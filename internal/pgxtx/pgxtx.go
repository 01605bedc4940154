// Package pgxtx runs statements written for database/sql in a pgx.Tx.
package pgxtx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Tx runs statements in a pgx transaction. Like that, it is not safe for
// concurrent use.
type Tx struct{ tx pgx.Tx }

// New returns tx with the methods of database/sql. It never ends tx.
func New(tx pgx.Tx) *Tx { return &Tx{tx} }

// ExecContext executes query and returns the number of rows it affected.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// QueryContext executes query and returns its rows. Values are text, except for
// bytea and timestamps; database/sql converts them to the types they are
// scanned into. No other statement can be executed before the rows are closed.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	// Only a DB can create Rows. It is closed here; its connection is closed
	// with the rows.
	db := sql.OpenDB(connector{t.tx})
	defer db.Close()
	return db.QueryContext(ctx, query, args...)
}

var errNotHere = errors.New("a pgx.Tx only runs statements here")

// connector returns connections that use the transaction.
type connector struct{ tx pgx.Tx }

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn(c), nil }
func (c connector) Driver() driver.Driver                        { return nil }

type conn struct{ tx pgx.Tx }

var (
	_ driver.QueryerContext    = conn{}
	_ driver.NamedValueChecker = conn{}
)

func (c conn) Prepare(string) (driver.Stmt, error) { return nil, errNotHere }
func (c conn) Begin() (driver.Tx, error)           { return nil, errNotHere }
func (c conn) Close() error                        { return nil }

// CheckNamedValue leaves arguments to pgx, which supports more types.
func (c conn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c conn) QueryContext(ctx context.Context, query string, named []driver.NamedValue) (driver.Rows, error) {
	args := make([]any, 0, 1+len(named))
	args = append(args, pgx.QueryResultFormats{pgx.TextFormatCode})
	for _, v := range named {
		args = append(args, v.Value)
	}
	found, err := c.tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	r := &rows{rows: found, types: c.tx.Conn().TypeMap()}
	// The server returns an error with the first row; it is returned as the
	// query's.
	if r.more = found.Next(); !r.more && found.Err() != nil {
		return nil, found.Err()
	}
	return r, nil
}

// rows reads one row ahead.
type rows struct {
	rows  pgx.Rows
	types *pgtype.Map
	more  bool
}

func (r *rows) Columns() []string {
	fields := r.rows.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

func (r *rows) Close() error {
	r.rows.Close()
	return r.rows.Err()
}

func (r *rows) Next(dest []driver.Value) error {
	if !r.more {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, raw := range r.rows.RawValues() {
		v, err := r.value(r.rows.FieldDescriptions()[i].DataTypeOID, raw)
		if err != nil {
			return err
		}
		dest[i] = v
	}
	r.more = r.rows.Next()
	return nil
}

// value converts what database/sql cannot convert from text; other values stay
// text.
func (r *rows) value(oid uint32, raw []byte) (driver.Value, error) {
	if raw == nil {
		return nil, nil
	}
	switch oid {
	case pgtype.ByteaOID, pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID:
		t, _ := r.types.TypeForOID(oid)
		return t.Codec.DecodeDatabaseSQLValue(r.types, oid, pgx.TextFormatCode, raw)
	}
	return string(raw), nil
}
