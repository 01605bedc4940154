package postgres

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// keepAlive detects within half a minute that the other side of a silent
// connection is gone. An operation with a deadline notices earlier.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}

// connector opens the pool's connections.
type connector struct {
	cfg Config
	// failures counts failed attempts. With several servers the next attempt
	// begins with another one: a server that accepts connections and does not
	// answer must not use up the time of every caller.
	failures atomic.Int64
	pooler   atomic.Bool // the last connection was to a pooler
	renewal  *renewal    // of a pool
}

var (
	_ driver.Connector = (*connector)(nil)
	_ io.Closer        = (*connector)(nil) // which the pool closes with itself
)

func newConnector(cfg Config) *connector {
	c := &connector{cfg: cfg}
	c.renewal = newRenewal(cfg.GetURL, c.connect)
	return c
}

// Close implements io.Closer.
func (c *connector) Close() error {
	c.renewal.close()
	return nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect implements driver.Connector, with the current address, credentials
// and certificates.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		c.failures.Add(1)
		return nil, fmt.Errorf("%w: %w", sqldb.ErrNotConnected, err)
	}
	return conn, nil
}

func (c *connector) connect(ctx context.Context) (driver.Conn, error) {
	question := c.renewal.ask()
	raw, err := c.url(ctx)
	if err != nil {
		return nil, err
	}
	cfg, modeIsGiven, err := c.settings(raw)
	if err != nil {
		return nil, err
	}
	for {
		expected := c.pooler.Load()
		if expected && !modeIsGiven {
			cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		conn, err := stdlib.GetConnector(*cfg, stdlib.OptionResetSession(c.renewal.checked(raw))).Connect(ctx)
		if err != nil {
			return nil, err
		}
		found, err := behindPooler(ctx, conn)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		c.pooler.Store(found)
		if !found || expected || modeIsGiven {
			c.renewal.connected(question, raw)
			return conn, nil
		}
		// Prepared statements would belong to whichever session the pooler
		// uses. Connect again without them.
		if err := conn.Close(); err != nil {
			return nil, err
		}
	}
}

// url returns the current URL.
func (c *connector) url(ctx context.Context) (string, error) {
	if c.cfg.GetURL == nil {
		return c.cfg.URL, nil
	}
	raw, err := c.cfg.GetURL(ctx)
	if err != nil {
		return "", fmt.Errorf("get the database's URL: %w", err)
	}
	return raw, nil
}

// settings returns the connection settings of a URL, and whether that itself sets
// how queries are executed.
func (c *connector) settings(raw string) (cfg *pgx.ConnConfig, modeIsGiven bool, err error) {
	if cfg, err = parseURL(raw); err != nil {
		return nil, false, err
	}
	if c.cfg.ConnectTimeout > 0 || cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = cmp.Or(c.cfg.ConnectTimeout, defaultConnectTimeout)
	}
	if c.cfg.Name != "" || cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = cmp.Or(c.cfg.Name, "pulse-events")
	}
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	// A server error that makes the session useless closes it, like a fatal
	// one.
	fatal := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, e *pgconn.PgError) bool {
		return fatal(conn, e) && !sqldb.Judge(e).GiveUp()
	}
	params := urlParams(raw)
	if len(servers(cfg)) > 1 {
		rotate(cfg, c.failures.Load())
		if !params.Has("target_session_attrs") {
			cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
		}
	}
	return cfg, params.Has("default_query_exec_mode"), nil
}

// urlParams returns the parameters of a URL that was parsed before. Package url
// cannot parse one with several hosts.
func urlParams(raw string) url.Values {
	_, query, _ := strings.Cut(raw, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil
	}
	return params
}

// behindPooler reports whether there is a pooler: the session that answers is
// not the one that was announced at login.
func behindPooler(ctx context.Context, conn driver.Conn) (bool, error) {
	c := conn.(*stdlib.Conn).Conn().PgConn()
	results, err := c.Exec(ctx, `SELECT pg_backend_pid()`).ReadAll()
	if err != nil {
		return false, err
	}
	pid, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)
	return uint32(pid) != c.PID(), err
}

// rotate makes connection attempts begin with another server; the others follow
// in order.
func rotate(cfg *pgx.ConnConfig, by int64) {
	attempts := slices.Insert(slices.Clone(cfg.Fallbacks), 0, &pgconn.FallbackConfig{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig})
	all := servers(cfg)
	first := all[by%int64(len(all))]
	start := slices.IndexFunc(attempts, func(f *pgconn.FallbackConfig) bool { return address(f.Host, f.Port) == first })
	attempts = slices.Concat(attempts[start:], attempts[:start])
	cfg.Host, cfg.Port, cfg.TLSConfig = attempts[0].Host, attempts[0].Port, attempts[0].TLSConfig
	cfg.Fallbacks = attempts[1:]
}

// servers returns the servers of cfg, each once, in order. Each may have
// several consecutive attempts, with TLS and without.
func servers(cfg *pgx.ConnConfig) []string {
	all := []string{address(cfg.Host, cfg.Port)}
	for _, f := range cfg.Fallbacks {
		all = append(all, address(f.Host, f.Port))
	}
	return slices.Compact(all)
}

func address(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
