package outbox

import "github.com/asimalizada/pulse-events/internal/sqldb"

// IsDatabaseUnavailable reports whether err, of a statement on PostgreSQL or
// SQLite, says that the database cannot serve it now, rather than that the
// statement or its values are wrong: it does not answer, is a standby, is out of
// resources, refuses the credentials or rights, has ended the transaction, or
// lacks the schema. A service answers such a request with 503 and not 500, and a
// handler of messages counts no attempt. It reads errors of pgx, lib/pq and the
// common drivers for SQLite, and is false for nil.
func IsDatabaseUnavailable(err error) bool { return sqldb.Unavailable(err) }

// IsDatabaseUnanswered reports whether err, of a statement on PostgreSQL or
// SQLite, says that the database did not answer, but will again without anybody
// acting: a service that starts waits for it. It is false for refused
// credentials, a missing schema, and a SQLite file that cannot be opened.
func IsDatabaseUnanswered(err error) bool { return sqldb.Unanswered(err) }
