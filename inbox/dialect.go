package inbox

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Dialect is the SQL a database speaks.
type Dialect = sqldb.Dialect

// The dialects there are.
const (
	PostgreSQL = sqldb.PostgreSQL // 13 and later
	SQLite     = sqldb.SQLite     // 3.43 and later, opened as package inbox/sqlite does
)

// What of the databases' differences the SQL files cannot hold.

// noteTimeout bounds a short write beside the transactions of messages. On
// SQLite it waits for them, handlers included.
func (in *Inbox) noteTimeout() time.Duration {
	if in.dialect == SQLite {
		return max(probeTimeout, in.statementTimeout)
	}
	return probeTimeout
}

// connected reports whether there is a connection that can be lost. SQLite has
// none; after some errors it has rolled back by itself, and refuses to do so
// again.
func (in *Inbox) connected() bool { return in.dialect != SQLite }

// errEnded blames a handler that went on after an error which ended its
// transaction. PostgreSQL refuses all that follows; on SQLite it would be
// committed by itself.
var errEnded = errors.New("a statement has ended the transaction, and its error was not returned")

// requireOpen returns errEnded where the transaction is gone that held the
// claim of an event.
func (in *Inbox) requireOpen(ctx context.Context, tx *sqlx.Tx, id string) error {
	if in.dialect != SQLite {
		return nil
	}
	var row recordRow
	err := tx.GetContext(ctx, &row, in.queries.Get("get"), in.consumer, id)
	if errors.Is(err, sql.ErrNoRows) {
		return errEnded
	}
	return err
}
