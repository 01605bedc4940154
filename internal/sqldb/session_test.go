package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// fill opens n connections in the pool and runs statement on each.
func fill(t *testing.T, db *sqlx.DB, n int, statement string) {
	t.Helper()
	db.SetMaxIdleConns(n)
	for range n {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func insert(db *sqlx.DB) func() error {
	return func() error {
		return Transact(context.Background(), db, nil, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO t VALUES ($1)`, 1)
			return err
		})
	}
}

func count(t *testing.T, db *sqlx.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.Get(&n, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

// A pool full of connections that work and cannot write, as after a failover in
// which sockets stay open, recovers after the first error.
func TestReleaseDropsReadOnlyConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(testenv.Postgres(t))
		db.MustExec(`CREATE TABLE t (n int)`)
		insert := func() error {
			conn, err := Acquire(context.Background(), db)
			if err != nil {
				return err
			}
			// Explicitly: lib/pq begins transactions with READ WRITE, whatever
			// the default.
			_, err = conn.ExecContext(context.Background(), `BEGIN; INSERT INTO t VALUES (1); COMMIT`)
			Release(db, conn, err)
			return err
		}
		for name, work := range map[string]func() error{
			"transaction": insert,
			"statement": func() error {
				return Do(context.Background(), db, func(ctx context.Context, conn *sqlx.Conn) error {
					_, err := conn.ExecContext(ctx, `INSERT INTO t VALUES ($1)`, 1)
					return err
				})
			},
		} {
			fill(t, db, 4, `SET default_transaction_read_only = on`)
			if err := work(); Judge(err) != ReadOnly {
				t.Fatalf("%s: %v, want the refusal of a read-only server", name, err)
			}
			for range 4 {
				if err := work(); err != nil {
					t.Errorf("%s: %v on a new connection", name, err)
				}
			}
		}
	})
}

// Each driver reports a standby's refusal in another way: lib/pq cannot even
// begin.
func TestJudgeStandby(t *testing.T) {
	server := testenv.PostgresServer(t)
	admin := open(t, "pgx", server.URL())
	admin.MustExec(`CREATE TABLE t (n int)`)
	admin.MustExec(`COPY (SELECT '') TO PROGRAM 'cat > standby.signal'`)
	server.Stop()
	server.Start()
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(server.URL())
		before := pid(t, db)
		if err := insert(db)(); Judge(err) != ReadOnly {
			t.Errorf("%v: %q", err, Judge(err))
		}
		if writable, err := Writable(t.Context(), db); writable || err != nil {
			t.Errorf("writable: %v, %v", writable, err)
		}
		if pid(t, db) == before {
			t.Error("the connection is still in the pool")
		}
	})
}

// Connections that can write stay in the pool.
func TestReleaseKeepsWritableConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(testenv.Postgres(t))
		db.MustExec(`CREATE TABLE t (n int)`)
		fill(t, db, 4, `SELECT 1`)
		conn, err := Acquire(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), `SET default_transaction_read_only = on`); err != nil {
			t.Fatal(err)
		}
		_, err = conn.ExecContext(t.Context(), `INSERT INTO t VALUES (1)`)
		if Judge(err) != ReadOnly {
			t.Fatal(err)
		}
		Release(db, conn, err)
		if n := db.Stats().OpenConnections; n != 3 {
			t.Errorf("%d good connections are left of 3", n)
		}
	})
}

// The meaning of an error decides whether the connection is used again.
func TestReleaseDropsUselessConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(testenv.Postgres(t))
		for name, c := range map[string]struct {
			err  error
			kept bool
		}{
			"fine":       {nil, true},
			"contention": {states("40P01", "deadlock")[0], true},
			"full disk":  {states("53100", "no space")[0], true},
			"statement":  {states("42601", "syntax")[0], true},
			"rights":     {states("42501", "permission denied")[0], false},
			"password":   {states("28P01", "wrong password")[0], false},
			"pooler":     {states("26000", "no such statement")[0], false},
		} {
			conn, err := Acquire(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			before := pid(t, conn)
			Release(db, conn, c.err)
			if after := pid(t, db); (after == before) != c.kept {
				t.Errorf("%s: backend %d, then %d; want it kept: %v", name, before, after, c.kept)
			}
		}
	})
}

// A handle on a pgxpool.Pool has no connections of its own: discarded ones must
// not return to that pool.
func TestReleaseDropsPgxPoolConnections(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), testenv.Postgres(t)+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx")
	defer db.Close()
	db.MustExec(`CREATE TABLE t (n int)`)
	db.MustExec(`SET default_transaction_read_only = on`)
	if err := insert(db)(); Judge(err) != ReadOnly {
		t.Fatalf("%v, want the refusal of a read-only server", err)
	}
	if err := insert(db)(); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
}

func pid(t *testing.T, q sqlx.QueryerContext) (pid int) {
	t.Helper()
	if err := sqlx.GetContext(t.Context(), q, &pid, `SELECT pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	return pid
}

// The server has ended every session in the pool: the next transaction still
// succeeds.
func TestBeginSkipsDeadConnections(t *testing.T) {
	server := testenv.Postgres(t)
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(server)
		db.MustExec(`CREATE TABLE IF NOT EXISTS t (n int)`)
		fill(t, db, 5, `SET application_name = 'victim'`)
		n := testenv.EndSessions(t, server, `application_name = 'victim' AND datname = current_database()`)
		if n != 5 {
			t.Fatalf("%d sessions were ended", n)
		}
		if err := insert(db)(); err != nil {
			t.Error(err)
		}
	})
}

func TestAcquireExhaustedPool(t *testing.T) {
	for name, db := range map[string]*sqlx.DB{"pgx": open(t, "pgx", testenv.Postgres(t)), "SQLite": openSQLite(t, t.TempDir()+"/t.db")} {
		db.SetMaxOpenConns(2)
		fill := func() *sqlx.Conn {
			conn, err := Acquire(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		first, second := fill(), fill()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		for what, err := range map[string]error{
			"transaction": Transact(ctx, db, nil, func(context.Context, *sqlx.Tx) error { return nil }),
			"statement":   Do(ctx, db, func(context.Context, *sqlx.Conn) error { return nil }),
		} {
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "all 2 that the pool may have (SetMaxOpenConns)") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		Release(db, first, nil)
		Release(db, second, nil)
	}
}

func TestTransact(t *testing.T) {
	db := openSQLite(t, t.TempDir()+"/t.db")
	db.MustExec(`CREATE TABLE t (n int)`)
	if err := insert(db)(); err != nil {
		t.Fatal(err)
	}
	odd := errors.New("odd")
	err := Transact(t.Context(), db, nil, func(ctx context.Context, tx *sqlx.Tx) error {
		tx.MustExec(`INSERT INTO t VALUES (2)`)
		return odd
	})
	if !errors.Is(err, odd) {
		t.Errorf("%v", err)
	}
	func() {
		defer func() { recover() }()
		_ = Transact(t.Context(), db, nil, func(ctx context.Context, tx *sqlx.Tx) error {
			tx.MustExec(`INSERT INTO t VALUES (3)`)
			panic("in a transaction")
		})
	}()
	if n := count(t, db, `SELECT count(*) FROM t`); n != 1 {
		t.Errorf("%d rows; want the committed one", n)
	}
	if s := db.Stats(); s.InUse != 0 {
		t.Errorf("%d connections were not returned", s.InUse)
	}
	if err := Transact(t.Context(), db, &sql.TxOptions{Isolation: sql.LevelSnapshot}, nil); err == nil {
		t.Error("an isolation that the driver does not have was taken")
	}
}
