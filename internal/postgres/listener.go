package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// ErrPooler says that the URL of a Listener leads to a pooler.
var ErrPooler = errors.New("the URL leads to a connection pooler, through which no notifications come reliably; give one that leads to the server")

const (
	// listenPing is how long a listener trusts a silent connection, and listenTimeout how
	// long the server may take for an answer.
	listenPing    = 30 * time.Second
	listenTimeout = 5 * time.Second
	// Attempts to listen again begin after the shortest pause, which doubles to the longest.
	listenPauseFirst = 500 * time.Millisecond
	listenPauseLast  = 30 * time.Second
)

// Listener waits for notifications over a connection of its own.
type Listener struct {
	connector connector
	channel   string
	log       *slog.Logger
	ping      time.Duration

	mu      sync.Mutex
	lastErr error // nil: it listens
}

// NewListener returns a listener to a channel. It does not touch the network.
func NewListener(c Config, channel string, log *slog.Logger) (*Listener, error) {
	if err := errors.Join(c.Validate(), validChannel(channel)); err != nil {
		return nil, err
	}
	return &Listener{connector: connector{cfg: c}, channel: channel, log: log, ping: listenPing, lastErr: errors.New("not connected yet")}, nil
}

// maxChannel is the longest name that PostgreSQL takes, in bytes.
const maxChannel = 63

func validChannel(name string) error {
	if name == "" || len(name) > maxChannel {
		return fmt.Errorf("Channel: %d bytes; must have 1 to %d", len(name), maxChannel)
	}
	return nil
}

// Run calls wake for each notification, and when it begins to listen, until ctx ends.
func (l *Listener) Run(ctx context.Context, wake func()) {
	defer func() { l.set(context.Cause(ctx)) }()
	pause, told := listenPauseFirst, false
	for ctx.Err() == nil {
		listened, err := l.session(ctx, wake)
		if ctx.Err() != nil {
			return
		}
		l.set(err)
		if listened {
			pause, told = listenPauseFirst, false
		}
		if !told {
			l.log.WarnContext(ctx, "cannot listen to notifications; messages of other processes are found by polling", "channel", l.channel, "error", err)
			told = true
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, listenPauseLast)
	}
}

// Health returns whether notifications are listened to, and if not, why.
func (l *Listener) Health() (listening bool, lastErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr == nil, l.lastErr
}

// set notes that it listens, or why not.
func (l *Listener) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErr = err
}

// session listens over one connection until that breaks.
func (l *Listener) session(ctx context.Context, wake func()) (listened bool, err error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenTimeout)
		defer cancel()
		_ = conn.Close(ctx) // it is gone either way
	}()
	l.set(nil)
	l.log.InfoContext(ctx, "listening to notifications", "channel", l.channel)
	for {
		wake() // what was committed while nobody listened counts, too
		if err := l.wait(ctx, conn); err != nil {
			return true, err
		}
	}
}

// connect returns a connection that listens.
func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*listenTimeout)
	defer cancel()
	url, err := l.connector.url(ctx)
	if err != nil {
		return nil, err
	}
	cfg, _, err := l.connector.settings(url)
	if err != nil {
		return nil, err
	}
	conn, err := stdlib.GetConnector(*cfg).Connect(ctx)
	if err != nil {
		l.connector.failures.Add(1)
		return nil, err
	}
	raw := conn.(*stdlib.Conn).Conn()
	pooled, err := behindPooler(ctx, conn)
	if err == nil && pooled {
		err = ErrPooler
	}
	if err == nil {
		_, err = raw.PgConn().Exec(ctx, "LISTEN "+pgx.Identifier{l.channel}.Sanitize()).ReadAll()
	}
	if err != nil {
		l.connector.failures.Add(1)
		return nil, errors.Join(err, conn.Close())
	}
	return raw, nil
}

// wait returns at the next notification. It asks a server that says nothing for a sign of
// life from time to time.
func (l *Listener) wait(ctx context.Context, conn *pgx.Conn) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, l.ping)
		_, err := conn.WaitForNotification(quiet)
		silent := quiet.Err() != nil && ctx.Err() == nil
		cancel()
		if !silent || err == nil {
			return err
		}
		asked, cancel := context.WithTimeout(ctx, listenTimeout)
		err = conn.Ping(asked)
		cancel()
		if err != nil {
			return fmt.Errorf("the server says nothing: %w", err)
		}
	}
}
