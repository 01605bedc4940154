package postgres

import (
	"context"
	"database/sql/driver"
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

// renewal moves a pool to another URL without an error: connections that were made
// by one that is not told any more are closed when they are taken from the pool, as
// soon as a connection was made by the one that is told now. So an old user can be
// deleted once nothing uses it, and a new URL that does not work ends no connection.
type renewal struct {
	get func(context.Context) (string, error) // nil: the URL never changes
	try func(context.Context) (driver.Conn, error)

	ctx  context.Context // of the pool
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	asked   int64 // how often a URL was asked for, to connect
	latest  int64 // which of these has led to a connection
	url     string
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

// connected notes that a connection was made by the URL of a question.
func (r *renewal) connected(question int64, url string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if question > r.latest {
		r.latest, r.url = question, url
	}
}

// checked returns the function that pgx calls when a connection, made by url, is
// taken from the pool.
func (r *renewal) checked(url string) func(context.Context, *pgx.Conn) error {
	return func(context.Context, *pgx.Conn) error {
		if r.outdated(url) {
			return driver.ErrBadConn
		}
		return nil
	}
}

func (r *renewal) outdated(url string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.get != nil && !r.looking && r.ctx.Err() == nil && time.Since(r.looked) >= lookInterval {
		r.looking = true
		r.work.Go(r.look)
	}
	return url != r.url
}

// look connects once if there is another URL than that of the last connection. An
// error is left to those who need a connection.
func (r *renewal) look() {
	ctx, cancel := context.WithTimeout(r.ctx, lookLimit)
	defer cancel()
	url, err := r.get(ctx)
	r.mu.Lock()
	changed := err == nil && url != r.url
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
