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

// database/sql keeps a connection for as long as it works. One that works and
// is of no use, such as one to a server that has become a standby, it would
// keep for ever. What is here takes connections by hand, so that they can be
// given up by what their errors mean.

// Transact runs do in a transaction of its own: committed if do returns nil,
// else rolled back. A connection that has to be given up is. The error matches
// ErrPooler where a pooler stands in the way.
func Transact(ctx context.Context, db *sqlx.DB, opts *sql.TxOptions, do func(ctx context.Context, tx *sqlx.Tx) error) (err error) {
	conn, tx, err := Begin(ctx, db, opts)
	if err != nil {
		return err
	}
	defer func() {
		Release(db, conn, err)
		err = explainPooler(err)
	}()
	defer tx.Rollback() // after a commit it does nothing
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Do runs do, a single statement outside a transaction, on a connection of its
// own, and once more on another where the first turned out to be dead before
// the statement was sent.
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

// Acquire takes a connection of the pool; the caller gives it to Release. The
// error names the pool where ctx has ended because others hold all of it.
func Acquire(ctx context.Context, db *sqlx.DB) (*sqlx.Conn, error) {
	conn, err := db.Connx(ctx)
	if err == nil {
		return conn, nil
	}
	if limit := db.Stats(); ctx.Err() != nil && limit.MaxOpenConnections > 0 && limit.InUse >= limit.MaxOpenConnections {
		return nil, fmt.Errorf("no connection to be had: all %d that the pool may have (SetMaxOpenConns) are in use: %w", limit.MaxOpenConnections, err)
	}
	return nil, explainPooler(err)
}

// Begin begins a transaction on a connection of its own, which the caller
// gives to Release once the transaction has ended. Connections that died in the
// pool, as all do when the server restarts, are passed over.
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

// Release gives conn back to db's pool after work that ended with err, or
// makes the pool drop it if that means that it is of no more use. After
// ReadOnly it drops those idle connections as well that may not write, as
// others would be given them next.
func Release(db *sqlx.DB, conn *sqlx.Conn, err error) {
	trouble := Judge(err)
	if trouble.GiveUp() {
		discard(conn)
	} else {
		_ = conn.Close() // the pool drops it if it is dead
	}
	if trouble == ReadOnly && SQLState(err) != "" {
		dropReadOnly(db)
	}
}

// ErrGiveUp marks an error of work on a connection that must not be used again,
// for reasons which the database does not know.
var ErrGiveUp = errors.New("connection given up")

// DropIdle rids the pool of the connections that nobody uses now.
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

// discard makes the pool forget conn.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(driverConn any) error {
		closeBelow(driverConn)
		return driver.ErrBadConn
	})
	_ = conn.Close()
}

// closeLimit bounds a farewell that the other side may never hear.
const closeLimit = time.Second

// closeBelow closes the connection that pgx has under that of database/sql. A
// handle made of a pgxpool.Pool would give it back there, to be used again.
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

// dropReadOnlyLimit bounds the look at the idle connections.
const dropReadOnlyLimit = time.Second

// dropReadOnly rids the pool of its idle connections to a server that takes
// no writes. Good ones are held until all were seen.
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

// Writable reports whether PostgreSQL takes writes from this session.
func Writable(ctx context.Context, q sqlx.QueryerContext) (writable bool, err error) {
	err = q.QueryRowxContext(ctx, `SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)`).Scan(&writable)
	return writable, err
}

// ErrBusy says that others have held the one lock for writing of a SQLite file for as
// long as CheckReady waits.
var ErrBusy = errors.New("the database is being written")

// busyWait is how long CheckReady waits for other writers of a SQLite file.
const busyWait = 250 * time.Millisecond

// CheckReady returns nil when the schema is there and this database takes these
// queries, which are to change no row. They are rolled back. The error matches
// ErrBusy where a SQLite file is being written.
func (db *Database) CheckReady(ctx context.Context, names ...string) error {
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
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

// tryWrites runs write, a transaction that ends with the error it is given.
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
