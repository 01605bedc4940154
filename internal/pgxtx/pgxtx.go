// Package pgxtx lets a pgx.Tx run the statements that are written for
// database/sql.
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

// Tx runs statements in a transaction of pgx. It is safe for concurrent use no
// more than that is.
type Tx struct{ tx pgx.Tx }

// New returns tx as one of database/sql. It takes no part in the end of tx.
func New(tx pgx.Tx) *Tx { return &Tx{tx} }

// ExecContext sends query, and returns what it has changed.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// QueryContext sends query, and returns its rows. Values are text, but for bytea
// and timestamps; database/sql converts them to what they are scanned into.
// Nothing else can be sent before the rows are closed.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	// Only a DB makes a Rows. It ends here; its connection ends with the rows.
	db := sql.OpenDB(connector{t.tx})
	defer db.Close()
	return db.QueryContext(ctx, query, args...)
}

var errNotHere = errors.New("a pgx.Tx only runs statements here")

// connector has connections that are the transaction.
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

// CheckNamedValue leaves arguments to pgx, which knows more types.
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
	// An error of the server comes with the first row, and is the query's here.
	if r.more = found.Next(); !r.more && found.Err() != nil {
		return nil, found.Err()
	}
	return r, nil
}

// rows are one row ahead of who reads them.
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

// value is what database/sql cannot make of text; the rest stays text.
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
