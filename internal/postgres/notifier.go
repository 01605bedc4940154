package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
)

const (
	// notifyTimeout bounds one notification; notifyPause is how long none is sent after one
	// that has failed.
	notifyTimeout = time.Second
	notifyPause   = time.Second
)

// Notifier sends notifications, each in a statement of its own.
type Notifier struct {
	db       *sqlx.DB
	channel  string
	interval time.Duration
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	joined   sync.WaitGroup

	mu      sync.Mutex
	pending bool // one is to be sent
	running bool // a goroutine sends, or waits until it may
	failing bool
}

// NewNotifier returns a notifier that sends at most one notification in an interval.
func NewNotifier(db *sqlx.DB, channel string, interval time.Duration, log *slog.Logger) (*Notifier, error) {
	if err := validChannel(channel); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Notifier{db: db, channel: channel, interval: interval, log: log, ctx: ctx, cancel: cancel}, nil
}

// Notify has a notification sent soon. It does not block.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = true
	if n.running || n.ctx.Err() != nil {
		return
	}
	n.running = true
	n.joined.Go(n.run)
}

// Close ends what is being sent.
func (n *Notifier) Close() {
	n.mu.Lock()
	n.cancel()
	n.mu.Unlock()
	n.joined.Wait()
}

func (n *Notifier) run() {
	for n.take() {
		pause := n.interval
		if err := n.send(); err != nil {
			pause = max(pause, notifyPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-n.ctx.Done():
		}
		timer.Stop()
	}
}

// take reports whether there is something to send, or else ends the goroutine.
func (n *Notifier) take() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.pending || n.ctx.Err() != nil {
		n.running = false
		return false
	}
	n.pending = false
	return true
}

func (n *Notifier) send() error {
	ctx, cancel := context.WithTimeout(n.ctx, notifyTimeout)
	defer cancel()
	_, err := n.db.ExecContext(ctx, `SELECT pg_notify($1, '')`, n.channel)
	if n.ctx.Err() != nil {
		return err
	}
	n.mu.Lock()
	changed := n.failing != (err != nil)
	n.failing = err != nil
	n.mu.Unlock()
	switch {
	case changed && err != nil:
		n.log.WarnContext(n.ctx, "cannot notify the relays; they find messages by polling", "channel", n.channel, "error", err)
	case changed:
		n.log.InfoContext(n.ctx, "relays are notified again", "channel", n.channel)
	}
	return err
}
