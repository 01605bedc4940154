package inbox

import (
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Dialect is the SQL a database speaks.
type Dialect = sqldb.Dialect

// The dialects. What sets them apart is in the files of the folder sql, and
// else in this one.
const (
	// PostgreSQL is the dialect of PostgreSQL 13 and later.
	PostgreSQL = sqldb.PostgreSQL
	// SQLite is the dialect of SQLite 3.41 and later. Package inbox/sqlite
	// opens files as the inbox needs them.
	SQLite = sqldb.SQLite
)

// noteTimeout bounds a short write beside the transactions of messages. On
// SQLite it waits for them, handlers included.
func (in *Inbox) noteTimeout() time.Duration {
	if in.dialect == SQLite {
		return max(probeTimeout, in.statementTimeout)
	}
	return probeTimeout
}
