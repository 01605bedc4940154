package guard_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox/internal/guard"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// oldConn is a connection of a driver from before contexts.
type oldConn struct{ conn driver.Conn }

func (c oldConn) Prepare(query string) (driver.Stmt, error) {
	st, err := c.conn.Prepare(query)
	return oldStmt{st}, err
}
func (c oldConn) Close() error { return c.conn.Close() }
func (c oldConn) Begin() (driver.Tx, error) {
	//lint:ignore SA1019 this is what old drivers do
	return c.conn.Begin()
}

type oldStmt struct{ st driver.Stmt }

func (s oldStmt) Close() error  { return s.st.Close() }
func (s oldStmt) NumInput() int { return s.st.NumInput() }
func (s oldStmt) Exec(args []driver.Value) (driver.Result, error) {
	//lint:ignore SA1019 this is what old drivers do
	return s.st.Exec(args)
}
func (s oldStmt) Query(args []driver.Value) (driver.Rows, error) {
	//lint:ignore SA1019 this is what old drivers do
	rows, err := s.st.Query(args)
	return oldRows{rows}, err
}

type oldRows struct{ rows driver.Rows }

func (r oldRows) Columns() []string              { return r.rows.Columns() }
func (r oldRows) Close() error                   { return r.rows.Close() }
func (r oldRows) Next(dest []driver.Value) error { return r.rows.Next(dest) }

// lend runs test in a session, once with the driver as it is and once as if it
// were an old one.
func lend(t *testing.T, test func(t *testing.T, s *guard.Session, db *sqlx.DB)) {
	for name, wrap := range map[string]func(driver.Conn) driver.Conn{
		"driver": func(c driver.Conn) driver.Conn { return c }, "old driver": func(c driver.Conn) driver.Conn { return oldConn{c} },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), "guard.db")))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.MustExec(`CREATE TABLE notes (text text NOT NULL)`)
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			err = conn.Raw(func(dc any) error {
				s := guard.Open(wrap(dc.(driver.Conn)), sqldb.SQLite, &guard.Snapshot{})
				test(t, s, db)
				if !s.Close() {
					return driver.ErrBadConn
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func begin(t *testing.T, s *guard.Session) *sql.Tx {
	t.Helper()
	tx, err := s.DB().BeginTx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// count looks from outside of the session.
func count(t *testing.T, db *sqlx.DB, want int) {
	t.Helper()
	var n int
	if err := db.GetContext(t.Context(), &n, `SELECT count(*) FROM notes`); err != nil || n != want {
		t.Errorf("%d notes, %v; want %d", n, err, want)
	}
}

func TestStatementsReachTheDriver(t *testing.T) {
	lend(t, func(t *testing.T, s *guard.Session, db *sqlx.DB) {
		tx := begin(t, s)
		sc := s.Lend(t.Context(), nil)
		ctx := sc.Context(t.Context())
		if _, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES (?), (?)`, "a", "b"); err != nil {
			t.Fatal(err)
		}
		st, err := tx.PrepareContext(ctx, `SELECT text FROM notes WHERE text > ? ORDER BY text`)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := st.QueryContext(ctx, "a")
		if err != nil || !rows.Next() {
			t.Fatal(err, rows)
		}
		var text string
		if err := rows.Scan(&text); err != nil || text != "b" {
			t.Errorf("read %q, %v", text, err)
		}
		if types, err := rows.ColumnTypes(); err != nil || types[0].Name() != "text" {
			t.Errorf("column types %v, %v", types, err)
		}
		if misuse := sc.End(); misuse != nil {
			t.Error(misuse)
		}
		if rows.Next() || rows.Err() == nil {
			t.Errorf("rows of a scope that has ended go on, %v", rows.Err())
		}
		if _, err := st.ExecContext(ctx, "a"); err == nil {
			t.Error("a statement of a scope that has ended works")
		}
		// All that was before the commit, and is blamed.
		if misused, ok := errors.AsType[*guard.MisuseError](s.Commit()); !ok {
			t.Errorf("Commit: %v, want a MisuseError", misused)
		}
		if err := s.Rollback(); err != nil {
			t.Error(err)
		}
	})
}

func TestCommitAndRollbackAreTheSessions(t *testing.T) {
	lend(t, func(t *testing.T, s *guard.Session, db *sqlx.DB) {
		tx := begin(t, s)
		sc := s.Lend(t.Context(), nil)
		if _, err := tx.ExecContext(sc.Context(t.Context()), `INSERT INTO notes VALUES ('a')`); err != nil {
			t.Fatal(err)
		}
		sc.End()
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("second Commit: %v", err)
		}
		count(t, db, 1)
		if err := tx.Rollback(); err != nil { // as database/sql does when the context ends
			t.Error(err)
		}
	})
}

// Close leaves no transaction open, whatever became of database/sql's.
func TestCloseRollsBack(t *testing.T) {
	lend(t, func(t *testing.T, s *guard.Session, db *sqlx.DB) {
		tx := begin(t, s)
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO notes VALUES ('a')`); err != nil {
			t.Fatal(err)
		}
		if !s.Close() {
			t.Error("the connection is not reused")
		}
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO notes VALUES ('b')`); err == nil {
			t.Error("a closed session takes statements")
		}
	})
}

// A call that comes when all is over is told of, once.
func TestLateCallsAreTold(t *testing.T) {
	lend(t, func(t *testing.T, s *guard.Session, db *sqlx.DB) {
		tx := begin(t, s)
		var told []error
		sc := s.Lend(t.Context(), func(err error) { told = append(told, err) })
		sc.End()
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := tx.ExecContext(sc.Context(t.Context()), `INSERT INTO notes VALUES ('late')`); err == nil {
				t.Error("it works")
			}
			if err := sc.CheckInTime(); err == nil {
				t.Error("CheckInTime sees nothing")
			}
		}
		if len(told) != 1 {
			t.Errorf("told %v, want once", told)
		}
		count(t, db, 0)
	})
}

// On SQLite some errors end the transaction, and what follows would commit by
// itself.
func TestNothingIsWrittenAfterTheTransactionHasEnded(t *testing.T) {
	lend(t, func(t *testing.T, s *guard.Session, db *sqlx.DB) {
		tx := begin(t, s)
		sc := s.Lend(t.Context(), nil)
		ctx := sc.Context(t.Context())
		if _, err := tx.ExecContext(ctx, `INSERT OR ROLLBACK INTO notes VALUES (NULL)`); err == nil {
			t.Fatal("NULL was accepted")
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES ('beside')`); err == nil {
			t.Error("a statement was let through after the transaction's end")
		}
		sc.End()
		if misuse, ok := errors.AsType[*guard.MisuseError](s.Commit()); !ok || misuse.Err == nil {
			t.Errorf("Commit: %v, want a MisuseError with the reason", misuse)
		}
		if err := s.Rollback(); err != nil {
			t.Error(err)
		}
		count(t, db, 0)
	})
}
