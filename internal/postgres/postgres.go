// Package postgres opens PostgreSQL with pgx for the programs of this project.
// It reads address and credentials again at each connect, closes connections
// that have become useless, and recognises connection poolers.
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jmoiron/sqlx"
)

// Config configures a database connection.
type Config struct {
	// URL such as postgres://user:password@host:5432/database. Several servers
	// are separated by commas, as in one:5432,two:5432: then only one that
	// accepts writes is used, unless the URL sets target_session_attrs.
	// Required.
	URL string
	// GetURL, if set, is called for the URL at each connect, and about once a
	// second while connections are taken from the pool; URL is then its value at
	// the start. Those that were made by a URL with another user, server or option are
	// replaced one by one, once one could be made by the new one.
	GetURL func(context.Context) (string, error)
	// Name is the application name in pg_stat_activity. Defaults to the URL's
	// application_name, or "pulse-events".
	Name string
	// MaxConns is the size of the pool. Defaults to 16.
	MaxConns int
	// ConnectTimeout limits one attempt to connect. Defaults to the URL's
	// connect_timeout, or 5 s.
	ConnectTimeout time.Duration
}

const (
	defaultMaxConns       = 16
	defaultConnectTimeout = 5 * time.Second
	// Connections are renewed, so that a pool spreads again after a failover.
	connLifetime = 30 * time.Minute
	connIdleTime = 5 * time.Minute
)

const urlHint = "expected postgres://user:password@host:5432/database, with reserved characters in user and password percent-encoded"

// Validate returns every problem at once, or nil. No text contains the
// password.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() (*pgx.ConnConfig, error) {
	var problems []error
	if c.MaxConns < 0 {
		problems = append(problems, fmt.Errorf("MaxConns: %d; must not be negative", c.MaxConns))
	}
	if c.ConnectTimeout < 0 {
		problems = append(problems, fmt.Errorf("ConnectTimeout: %v; must not be negative", c.ConnectTimeout))
	}
	parsed, err := parseURL(c.URL)
	if err != nil {
		problems = append(problems, err)
	}
	return parsed, errors.Join(problems...)
}

// parseURL never quotes what it could not parse: a password with a reserved
// character may be in any part of such a URL.
func parseURL(raw string) (*pgx.ConnConfig, error) {
	if raw == "" {
		return nil, fmt.Errorf("URL: is empty; %s", urlHint)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("URL: cannot be parsed; %s", urlHint)
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return nil, fmt.Errorf("URL: does not begin with postgres:// or postgresql://; %s", urlHint)
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"):
		return nil, fmt.Errorf("URL: has an @ after the host, as from an unencoded password; %s", urlHint)
	}
	parsed, err := pgx.ParseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("URL: port, sslmode or another parameter is not understood; %s", urlHint)
	}
	return parsed, nil
}

// Open returns a pool of connections. It does not use the network: a database
// that is down shows at the first query. Close ends the pool.
func Open(c Config) (*sqlx.DB, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	size := cmp.Or(c.MaxConns, defaultMaxConns)
	db := sql.OpenDB(newConnector(c))
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxLifetime(connLifetime)
	db.SetConnMaxIdleTime(connIdleTime)
	return sqlx.NewDb(db, "pgx"), nil
}
