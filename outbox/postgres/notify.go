package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/postgres"
)

// DefaultChannel is the channel of notifications that Notifier and Listener use unless
// they are given another. Channels belong to a database: outboxes in several of its
// schemas can share one, at the price of some looks in vain.
const DefaultChannel = "pulse_outbox"

// ErrPooler is the error of a Listener whose URL leads to a connection pooler.
var ErrPooler = postgres.ErrPooler

// NotifierConfig holds the settings of a Notifier. All are optional.
type NotifierConfig struct {
	// Channel is where relays listen, up to 63 bytes. Defaults to DefaultChannel.
	Channel string
	// Interval is the least time from one notification of this process to the next:
	// those in between are sent as one. Defaults to 5 ms.
	Interval time.Duration
	// Logger receives one line when notifications begin to fail, and one when they work
	// again. Defaults to slog.Default().
	Logger *slog.Logger
}

// Notifier tells relays in other processes that messages were committed, so that they
// need not find them by polling. It is a hint, by NOTIFY: nothing depends on it. It is
// safe for concurrent use.
//
//	tx.Commit()
//	notifier.Notify()
//
// Notifications are sent after the commit, in statements of their own and at most one in
// an interval: a NOTIFY in the transaction would take a lock of the whole server while it
// commits, one transaction after another.
type Notifier struct{ n *postgres.Notifier }

// NewNotifier returns a notifier that uses db, of any driver and through poolers as well,
// for a moment at a time. The caller closes it before db.
func NewNotifier(db *sqlx.DB, c NotifierConfig) (*Notifier, error) {
	var problems []error
	if db == nil {
		problems = append(problems, errors.New("the database is nil"))
	}
	if c.Interval < 0 {
		problems = append(problems, fmt.Errorf("Interval: %v; must be positive, or 0 for the default", c.Interval))
	}
	n, err := postgres.NewNotifier(db, cmp.Or(c.Channel, DefaultChannel), cmp.Or(c.Interval, 5*time.Millisecond), cmp.Or(c.Logger, slog.Default()))
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("postgres: notifier: %w", err)
	}
	return &Notifier{n}, nil
}

// Notify has relays that listen look for messages. Call it after the commit. It does not
// block, returns no error, and does nothing after Close.
func (n *Notifier) Notify() { n.n.Notify() }

// Close returns when the notifier uses the database no more. A notification that was not
// sent by then is not. The error is always nil.
func (n *Notifier) Close() error {
	n.n.Close()
	return nil
}

// ListenerConfig holds the settings of a Listener.
type ListenerConfig struct {
	// Config says where the server is; MaxConns is not used. The URL must lead to
	// the server itself: no notifications come through PgBouncer in transaction mode, and
	// every pooler is refused with ErrPooler.
	Config
	// Channel is that of the notifiers. Defaults to DefaultChannel.
	Channel string
	// Logger receives one line when it cannot listen, and one when it can. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// Listener calls a function when a Notifier says that messages were committed. It has
// one connection, which it makes again when that breaks; meanwhile, and whenever a
// notification is lost, the relay's polling finds the messages. It is safe for
// concurrent use.
type Listener struct{ l *postgres.Listener }

// NewListener returns a listener. It does not touch the network. The error names every
// bad setting and holds no password.
func NewListener(c ListenerConfig) (*Listener, error) {
	l, err := postgres.NewListener(postgres.Config(c.Config), cmp.Or(c.Channel, DefaultChannel), cmp.Or(c.Logger, slog.Default()))
	if err != nil {
		return nil, fmt.Errorf("postgres: listener: %w", err)
	}
	return &Listener{l}, nil
}

// Run calls wake, which must not block, for each notification and when it begins to
// listen, until ctx ends. outbox.Relay.Wake is such a function. A server that is away
// is no reason to return. The error is always nil. Run is called once at a time.
func (l *Listener) Run(ctx context.Context, wake func()) error {
	l.l.Run(ctx, wake)
	return nil
}

// Health returns whether it listens now and, if not, why.
func (l *Listener) Health() (listening bool, lastErr error) { return l.l.Health() }
