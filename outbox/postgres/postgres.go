// Package postgres opens PostgreSQL for services that are to survive failovers,
// rotated passwords and connection poolers without a restart. Packages outbox
// and inbox work on any pool; one of this package, which uses pgx,
//
//   - asks for the URL at each connect, so that a rotated password is used from
//     the next connect on (Config.GetURL), and moves to another user or server by
//     itself when the URL names one, within seconds and without an error;
//   - given several servers, connects to one that accepts writes, and begins
//     with another after each failure;
//   - closes connections that work but are of no more use, as to a server that
//     has become a standby or a role that has lost its rights;
//   - recognises PgBouncer in transaction mode, and then prepares no statements;
//   - notices within half a minute that the other side of a silent connection
//     is gone.
//
// It imports neither library: a service that has only an inbox uses it as well.
// Package outbox/sqlite is the same for SQLite.
package postgres

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Config holds the settings of a pool. Only URL is required.
type Config struct {
	// URL such as postgres://user:password@host:5432/database, with reserved
	// characters in user and password percent-encoded. Several servers are
	// separated by commas, as in one:5432,two:5432. target_session_attrs says
	// which of several is connected to; by default one that accepts writes.
	// default_query_exec_mode says how queries are sent; by default pgx decides,
	// and behind a pooler it is exec.
	URL string
	// GetURL, if set, is asked for the URL at each connect, in place of URL,
	// which then has to be valid all the same, and about once a second while the
	// pool is used: connections that were made by a URL with another user, server or
	// option are replaced as they are taken from the pool, once one could be made by
	// the new one. It is called from several goroutines. An error is a failure to connect; it is logged, so
	// it must hold no secret.
	GetURL func(context.Context) (string, error)
	// Name is the application's name in pg_stat_activity. Defaults to the URL's
	// application_name, else to "pulse-events".
	Name string
	// MaxConns is the size of the pool. Defaults to 16.
	MaxConns int
	// ConnectTimeout bounds one attempt to connect. Defaults to the URL's
	// connect_timeout, else to 5 s.
	ConnectTimeout time.Duration
}

// ErrNotConnected is matched by the errors of connecting, whatever the reason.
var ErrNotConnected = sqldb.ErrNotConnected

// Open returns a pool of connections. It does not touch the network: a database
// that is away shows at the first query. The error names every bad setting and
// holds no password. Close ends the pool.
func Open(c Config) (*sqlx.DB, error) { return postgres.Open(postgres.Config(c)) }
