package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

func open(t *testing.T, path string) *sqlx.DB {
	t.Helper()
	db, err := Open(URL(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Every connection of the pool gets the settings, not only the first.
func TestOpenConfiguresEachConnection(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a file.db"))
	for range maxConns {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "1",
		} {
			var got string
			if err := conn.GetContext(t.Context(), &got, "PRAGMA "+pragma); err != nil || got != want {
				t.Errorf("%s: %q, %v; want %q", pragma, got, err, want)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"":                     "does not begin with sqlite:",
		"postgres://localhost": "does not begin with sqlite:",
		"sqlite:":              "names no file",
		"sqlite:a.db?mode=ro":  "parameters",
		"sqlite::memory:":      ":memory:",
	} {
		if _, err := Open(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
	}
}

// A path may contain any characters.
func TestOpenAnyPath(t *testing.T) {
	for _, name := range []string{"plain.db", "with blank.db", "100%41.db", "a#b&c=d.db", "päth.db"} {
		path := filepath.Join(t.TempDir(), name)
		open(t, path).MustExec(`CREATE TABLE t (n int)`)
		if found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.db")); err != nil || len(found) != 1 || found[0] != path {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

func TestOpenMissingDirectory(t *testing.T) {
	err := open(t, filepath.Join(t.TempDir(), "none", "a.db")).PingContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "unable to open database file") {
		t.Errorf("%v", err)
	}
}

// A transaction that reads first and writes later waits for others at its
// start, and so never fails later.
func TestTransactionReadThenWrite(t *testing.T) {
	const workers, each = 4, 20
	path := filepath.Join(t.TempDir(), "t.db")
	open(t, path).MustExec(`CREATE TABLE account (balance int); INSERT INTO account VALUES (0)`)
	var wg sync.WaitGroup
	for range workers {
		db := open(t, path)
		wg.Go(func() {
			for range each {
				tx := db.MustBegin()
				var balance int
				if err := errors.Join(tx.Get(&balance, `SELECT balance FROM account`),
					second(tx.Exec(`UPDATE account SET balance = ?`, balance+1)), tx.Commit()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var balance int
	if err := open(t, path).Get(&balance, `SELECT balance FROM account`); err != nil || balance != workers*each {
		t.Errorf("balance %d, %v; want %d", balance, err, workers*each)
	}
}

func second[T any](_ T, err error) error { return err }

// While one transaction writes, others can read, and other writers wait until
// their context ends.
func TestWriterBlocksOnlyWriters(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "t.db"))
	db.MustExec(`CREATE TABLE t (n int); INSERT INTO t VALUES (1)`)
	writer := db.MustBegin()
	defer writer.Rollback()
	writer.MustExec(`UPDATE t SET n = 2`)

	reader, err := db.BeginTxx(t.Context(), sqldb.SQLite.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	var n int
	if err := reader.Get(&n, `SELECT n FROM t`); err != nil || n != 1 {
		t.Errorf("read %d, %v beside a writer", n, err)
	}
	if _, err := reader.Exec(`UPDATE t SET n = 3`); err == nil {
		t.Error("a read-only transaction has written")
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := db.BeginTxx(ctx, nil); err == nil {
		t.Error("it began beside a writer")
	}
	if waited := time.Since(begun); waited >= busyTimeout*time.Millisecond {
		t.Errorf("it waited %v, to the end of the busy timeout and not of its context", waited)
	}
}

// A failure because another transaction writes can be retried, and is
// distinguished from others.
func TestBusyIsRetryable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	db := open(t, path)
	db.MustExec(`CREATE TABLE t (n int)`)
	writer := db.MustBegin()
	defer writer.Rollback()
	impatient, err := sqlx.Open(driverName, "file:"+path+"?_pragma=busy_timeout(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.Exec(`INSERT INTO t VALUES (1)`); !sqldb.Retryable(err) {
		t.Errorf("%v: want it to be retryable", err)
	}
	if _, err := impatient.Exec(`INSERT INTO u VALUES (1)`); err == nil || sqldb.Retryable(err) || errors.Is(err, sql.ErrNoRows) {
		t.Errorf("%v: want an error that is not retryable", err)
	}
}

// A connection to a new file waits while another one writes to it, although SQLite
// fails at once where the change to WAL meets a writer.
func TestOpenNewFileWaitsForWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	first, err := sqlx.Open(driverName, "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	writer := first.MustBegin()
	defer writer.Rollback()
	writer.MustExec(`CREATE TABLE t (n int)`)

	db := open(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.PingContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want it to wait until its context ends", err)
	}
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Error(err)
	}
}
