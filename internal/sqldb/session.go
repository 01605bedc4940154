package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jmoiron/sqlx"
)

// database/sql keeps a connection for as long as it works, even if it has
// become useless, for example because its server is now a standby. The
// functions here take connections from the pool themselves, so that they can
// discard one depending on the error.

// Transact runs do in a new transaction, which is committed if do returns nil
// and rolled back otherwise. It discards a connection that must not be used
// again. The error matches ErrPooler if there is a connection pooler in the
// way.
func Transact(ctx context.Context, db *sqlx.DB, opts *sql.TxOptions, do func(ctx context.Context, tx *sqlx.Tx) error) (err error) {
	conn, tx, err := Begin(ctx, db, opts)
	if err != nil {
		return err
	}
	defer func() {
		Release(db, conn, err)
		err = explainPooler(err)
	}()
	defer tx.Rollback() // no effect after a commit
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Do runs do, a single statement outside a transaction, on a connection of the
// pool, and again on another if the first turned out to be dead before the
// statement was sent.
func Do(ctx context.Context, db *sqlx.DB, do func(ctx context.Context, conn *sqlx.Conn) error) error {
	for tries := db.Stats().Idle; ; tries-- {
		conn, err := Acquire(ctx, db)
		if err != nil {
			return err
		}
		err = do(ctx, conn)
		Release(db, conn, err)
		if !errors.Is(err, driver.ErrBadConn) || tries <= 0 || ctx.Err() != nil {
			return explainPooler(err)
		}
	}
}

// ErrPoolInUse says that others have used all connections of the pool for the whole time.
var ErrPoolInUse = errors.New("no free connection")

// Acquire takes a connection from the pool; the caller passes it to Release. If
// ctx ends because others use all connections, the error says so.
func Acquire(ctx context.Context, db *sqlx.DB) (*sqlx.Conn, error) {
	conn, err := db.Connx(ctx)
	if err == nil {
		return conn, nil
	}
	if limit := db.Stats(); ctx.Err() != nil && limit.MaxOpenConnections > 0 && limit.InUse >= limit.MaxOpenConnections {
		return nil, fmt.Errorf("%w: all %d that the pool may have (SetMaxOpenConns) are in use: %w", ErrPoolInUse, limit.MaxOpenConnections, err)
	}
	return nil, explainPooler(err)
}

// Begin begins a transaction on a connection of the pool, which the caller
// passes to Release after the transaction has ended. It skips connections that
// died in the pool, as all do when the server restarts.
func Begin(ctx context.Context, db *sqlx.DB, opts *sql.TxOptions) (*sqlx.Conn, *sqlx.Tx, error) {
	for tries := db.Stats().Idle; ; tries-- {
		conn, err := Acquire(ctx, db)
		if err != nil {
			return nil, nil, err
		}
		tx, err := conn.BeginTxx(ctx, opts)
		if err == nil {
			return conn, tx, nil
		}
		discard(conn)
		Release(db, conn, err)
		died := Judge(err) == Lost || Judge(err) == Outage && SQLiteError(err) == nil
		if !died || tries <= 0 || ctx.Err() != nil {
			return nil, nil, explainPooler(err)
		}
	}
}

// Release returns conn to db's pool after work that ended with err, or makes
// the pool drop it if err means that it has become useless. After ReadOnly it
// also drops the idle connections that cannot write, because others would get
// them next.
func Release(db *sqlx.DB, conn *sqlx.Conn, err error) {
	trouble := Judge(err)
	if trouble.GiveUp() {
		discard(conn)
	} else {
		_ = conn.Close() // the pool drops a dead connection
	}
	if trouble == ReadOnly && SQLState(err) != "" {
		dropReadOnly(db)
	}
}

// ErrGiveUp marks an error after which the connection must not be used again,
// for reasons that the database does not know.
var ErrGiveUp = errors.New("connection discarded")

// DropIdle removes the idle connections from the pool.
func DropIdle(ctx context.Context, db *sqlx.DB) error {
	for range db.Stats().Idle {
		conn, err := db.Connx(ctx)
		if err != nil {
			return err
		}
		discard(conn)
	}
	return nil
}

// discard makes the pool drop conn.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(driverConn any) error {
		closeBelow(driverConn)
		return driver.ErrBadConn
	})
	_ = conn.Close()
}

// closeLimit limits the closing of a connection whose other side may be gone.
const closeLimit = time.Second

// closeBelow closes the pgx connection below that of database/sql. A handle on
// a pgxpool.Pool would return it to that pool, to be used again.
func closeBelow(driverConn any) {
	method := reflect.ValueOf(driverConn).MethodByName("Conn") // func() *pgx.Conn; the cores import no driver
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return
	}
	if below, ok := method.Call(nil)[0].Interface().(interface{ Close(context.Context) error }); ok {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		_ = below.Close(ctx)
	}
}

// dropReadOnlyLimit limits the check of the idle connections.
const dropReadOnlyLimit = time.Second

// dropReadOnly removes idle connections to a server that does not accept
// writes. Good ones are held until all are checked.
func dropReadOnly(db *sqlx.DB) {
	ctx, cancel := context.WithTimeout(context.Background(), dropReadOnlyLimit)
	defer cancel()
	for range db.Stats().Idle {
		conn, err := db.Connx(ctx)
		if err != nil {
			return
		}
		if writable, err := Writable(ctx, conn); err != nil || !writable {
			discard(conn)
		} else {
			defer conn.Close()
		}
	}
}

// Writable reports whether PostgreSQL accepts writes in this session.
func Writable(ctx context.Context, q sqlx.QueryerContext) (writable bool, err error) {
	err = q.QueryRowxContext(ctx, `SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)`).Scan(&writable)
	return writable, err
}

// ErrBusy says that others have held the write lock of a SQLite file for as
// long as CheckReady waits.
var ErrBusy = errors.New("the database is being written")

// busyWait is how long CheckReady waits for other writers of a SQLite file.
const busyWait = 250 * time.Millisecond

// CheckReady returns nil if the schema exists and the database accepts these
// queries, which must not change a row. They are rolled back. The error matches
// ErrBusy if a SQLite file is being written, and has what the queries need.
func (db *Database) CheckReady(ctx context.Context, names ...string) error {
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	err := db.tryQueries(ctx, names)
	if errors.Is(err, ErrBusy) { // which may be all that a slow machine could find out in that time
		if missing := db.compile(ctx, names); missing != nil {
			return Explain(missing)
		}
	}
	return err
}

// compile returns an error if a SQLite file has not the tables and columns of
// these queries. It waits for no writer.
func (db *Database) compile(ctx context.Context, names []string) error {
	return db.Read(ctx, func(ctx context.Context, tx *Tx) error {
		for _, name := range names {
			rows, err := tx.tx.QueryContext(ctx, `EXPLAIN `+tx.at.Get(name))
			if err != nil {
				return err
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (db *Database) tryQueries(ctx context.Context, names []string) error {
	return tryWrites(ctx, db.dialect, func(ctx context.Context, rollback error) error {
		return db.Write(ctx, func(ctx context.Context, tx *Tx) error {
			for _, name := range names {
				if _, err := tx.Exec(ctx, name); err != nil {
					return err
				}
			}
			return rollback
		})
	})
}

// tryWrites runs write, a transaction that ends with the error passed to it.
func tryWrites(ctx context.Context, d Dialect, write func(ctx context.Context, rollback error) error) error {
	if d == SQLite {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, busyWait)
		defer cancel()
	}
	rollback := errors.New("rolled back")
	err := write(ctx, rollback)
	switch trouble := Judge(err); {
	case errors.Is(err, rollback):
		return nil
	case d == SQLite && (trouble == Transient || trouble == Timeout):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return Explain(err)
}
