package service

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/jmoiron/sqlx"
)

func TestDatabaseClose(t *testing.T) {
	defect := errors.New("defect")
	for _, c := range []struct {
		about     string
		err, want error
	}{
		{"all is well", nil, nil},
		{"the server has closed a connection", fmt.Errorf("tls: failed to send closeNotify alert: %w", syscall.EPIPE), nil},
		{"anything else", defect, defect},
	} {
		pool := sql.OpenDB(closing{c.err})
		conn, err := pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close() // idle from now on
		d := &Database{DB: sqlx.NewDb(pool, "pgx")}
		if err := d.Close(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.about, err, c.want)
		}
	}
}

// closing is a driver whose connections say err when they are closed.
type closing struct{ err error }

func (c closing) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c closing) Driver() driver.Driver                        { return nil }
func (c closing) Close() error                                 { return c.err }
func (c closing) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (c closing) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
