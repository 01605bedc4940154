package postgres

import (
	"context"
	"database/sql/driver"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// lookInterval is the least time between two questions for the URL while
	// connections are taken from the pool.
	lookInterval = time.Second
	// lookLimit bounds a question and the attempt to connect that may follow.
	lookLimit = 30 * time.Second
)

// renewal moves a pool to another user or server without an error: connections that
// were made by a URL that is not told any more are closed when they are taken from the
// pool, as soon as a connection was made by the one that is told now. So an old user can
// be deleted once nothing uses it, and a new URL that does not work ends no connection.
// Another password ends none: it counts when one connects, and some are told a new one
// each time, such as the tokens of a cloud.
type renewal struct {
	get func(context.Context) (string, error) // nil: the URL never changes
	try func(context.Context) (driver.Conn, error)

	ctx  context.Context // of the pool
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	asked   int64 // how often a URL was asked for, to connect
	latest  int64 // which of these has led to a connection
	account string
	looking bool
	looked  time.Time
}

func newRenewal(get func(context.Context) (string, error), try func(context.Context) (driver.Conn, error)) *renewal {
	r := &renewal{get: get, try: try}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// ask numbers a question for the URL.
func (r *renewal) ask() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	return r.asked
}

// account returns a URL without its password.
func account(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	query.Del("password")
	u.RawQuery = query.Encode()
	return u.String()
}

// connected notes that a connection was made by the URL of a question.
func (r *renewal) connected(question int64, raw string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if question > r.latest {
		r.latest, r.account = question, account(raw)
	}
}

// checked returns the function that pgx calls when a connection, made by a URL, is
// taken from the pool.
func (r *renewal) checked(raw string) func(context.Context, *pgx.Conn) error {
	its := account(raw)
	return func(context.Context, *pgx.Conn) error {
		if r.outdated(its) {
			return driver.ErrBadConn
		}
		return nil
	}
}

func (r *renewal) outdated(account string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.get != nil && !r.looking && r.ctx.Err() == nil && time.Since(r.looked) >= lookInterval {
		r.looking = true
		r.work.Go(r.look)
	}
	return account != r.account
}

// look connects once if there is another account than that of the last connection. An
// error is left to those who need a connection.
func (r *renewal) look() {
	ctx, cancel := context.WithTimeout(r.ctx, lookLimit)
	defer cancel()
	raw, err := r.get(ctx)
	r.mu.Lock()
	changed := err == nil && account(raw) != r.account
	r.mu.Unlock()
	if changed {
		if conn, err := r.try(ctx); err == nil {
			_ = conn.Close()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looking, r.looked = false, time.Now()
}

// close ends and waits for what is going on.
func (r *renewal) close() {
	r.mu.Lock()
	r.end() // no look begins later
	r.mu.Unlock()
	r.work.Wait()
}
