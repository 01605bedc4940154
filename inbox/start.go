package inbox

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// The table inbox_attempts keeps starts apart from finishes, each start
// committed by itself, so that a message which takes the process down leaves a
// trace. The idea is pg-transactional-outbox's.

// start notes the start of a message. first is false when an earlier start was
// not finished; then nothing is noted.
func (in *Inbox) start(ctx context.Context, id string) (first bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	n, err := in.exec(ctx, "start", in.consumer, id)
	if err != nil {
		return false, &txError{phase: beginning, err: err}
	}
	return n == 1, nil
}

// restart notes one more start and returns how many are unfinished with it.
func (in *Inbox) restart(ctx context.Context, id string) (starts int, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	err = in.do(ctx, "restart", func(ctx context.Context, conn *sqlx.Conn, query string) error {
		return conn.GetContext(ctx, &starts, query, in.consumer, id)
	})
	if err != nil {
		return 0, &txError{phase: beginning, err: err}
	}
	return starts, nil
}

// lookUp returns those of the given ids that were applied.
func (in *Inbox) lookUp(ctx context.Context, ids []string) (found map[string]identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	err = sqldb.Do(ctx, in.db, func(ctx context.Context, conn *sqlx.Conn) (err error) {
		found, err = in.applied(ctx, conn, ids)
		return err
	})
	return found, err
}

// exec runs a query for its effect, as a transaction of its own, and returns
// the number of rows.
func (in *Inbox) exec(ctx context.Context, name string, args ...any) (n int64, err error) {
	err = in.do(ctx, name, func(ctx context.Context, conn *sqlx.Conn, query string) error {
		result, err := conn.ExecContext(ctx, query, args...)
		if err == nil {
			n, err = result.RowsAffected()
		}
		return err
	})
	return n, err
}

// do runs f for one query outside of a transaction.
func (in *Inbox) do(ctx context.Context, name string, f func(ctx context.Context, conn *sqlx.Conn, query string) error) error {
	return in.store.Failed(sqldb.Do(ctx, in.db, func(ctx context.Context, conn *sqlx.Conn) error {
		query, err := in.store.Query(ctx, conn, name)
		if err != nil {
			return err
		}
		return f(ctx, conn, query)
	}))
}
