package devbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// shutdownTimeout is how long [Broker.Close] waits for clients to close their
// connections.
const shutdownTimeout = 5 * time.Second

// Broker is a running broker. Its methods are safe for concurrent use.
type Broker struct {
	cfg     Config
	log     *slog.Logger
	store   *store
	memory  atomic.Int64 // bytes held, approximately
	blocked atomic.Bool  // publishers must wait; changed with mu held

	done       sync.WaitGroup // goroutines that live as long as the broker
	clients    sync.WaitGroup // goroutines of connections
	accepting  sync.WaitGroup // goroutines that accept
	stopped    chan struct{}  // closed to end the goroutines of done
	failed     chan struct{}  // closed when the broker has failed
	compacting chan struct{}  // asks for a compaction
	control    sync.Mutex     // held during start, stop and outage; taken before mu

	mu        sync.Mutex // guards the fields below, and others whose comments say so
	endpoints endpoints
	closing   bool
	failure   error
	conns     map[*conn]struct{}
	vhosts    map[string]*virtualHost
	users     map[string]*user
	replies   map[string]*channel // by the names of direct reply-to
	lastSeq   uint64              // of messages
	lastQueue uint64              // id
	// Approximate size of a snapshot: messages, and definitions.
	storedBytes, definedBytes int64
	faults                    faults
	alarms                    alarms
	unblocked                 chan struct{} // closed when publishers are unblocked; nil if they are not blocked
	schedule                  schedule
	rescheduled               chan struct{}
	dirty                     []*queue       // to be settled before the lock is released
	awaiting                  []*channel     // channels with confirms that wait for the journal
	taking                    []*queue       // reused by enqueue
	confirmations             []confirmation // reused by committed
}

// Start reads the data directory and starts to listen. ctx limits only the
// start; [Broker.Close] or [Broker.Shutdown] ends the broker. The error names
// every problem of the configuration, the address in use, or the damage in the
// data directory.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, log: cfg.Logger, stopped: make(chan struct{}), failed: make(chan struct{}),
		compacting: make(chan struct{}, 1), rescheduled: make(chan struct{}, 1),
		conns: make(map[*conn]struct{}), vhosts: make(map[string]*virtualHost), users: make(map[string]*user),
		replies: make(map[string]*channel),
	}
	b.endpoints.amqp = endpoint{configured: cfg.Addr, serve: func(l net.Listener) { b.accept(l, b.admit) }}
	b.endpoints.tls = endpoint{configured: cfg.TLSAddr, serve: func(l net.Listener) { b.accept(l, b.admitTLS) }}
	b.endpoints.management = endpoint{configured: cfg.ManagementAddr, serve: b.serveManagement}
	b.vhosts[cfg.VHost] = newVirtualHost(cfg.VHost)
	if err := errors.Join(
		b.SetUser(User{Name: cfg.User, Password: cfg.Password, Tags: []string{"administrator"}}),
		b.SetPermissions(cfg.User, cfg.VHost, AllPermissions),
	); err != nil {
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		return nil, fmt.Errorf("devbroker: %w", err)
	}
	if err := b.Up(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.log.Info("listening", "addr", b.Addr(), "data", cmp.Or(cfg.DataDir, "in memory"))
	return b, nil
}

// open recovers the state and starts the broker's goroutines.
func (b *Broker) open(ctx context.Context) error {
	b.store = &store{}
	if b.cfg.DataDir != "" {
		r := newRecovery(b)
		j, err := journal.Open(b.cfg.DataDir, func(record []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return r.replay(record)
		}, b.committed)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.store.journal = j
		r.finish()
		b.mu.Unlock()
		b.done.Go(b.compact)
		b.done.Go(b.watchDisk)
	}
	b.done.Go(b.keepTime)
	return nil
}

// Addr returns the address of the broker, such as "127.0.0.1:5673", also while
// it is down.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.endpoints.amqp.String()
}

// URL returns the URL to dial, with credentials, such as
// "amqp://guest:guest@127.0.0.1:5673/".
func (b *Broker) URL() string { return b.url("amqp", b.Addr()) }

// TLSURL returns the URL to dial with TLS, with credentials, such as
// "amqps://guest:guest@127.0.0.1:5671/", or "" if Config.TLSAddr is empty.
func (b *Broker) TLSURL() string {
	if b.cfg.TLSAddr == "" {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.url("amqps", b.endpoints.tls.String())
}

func (b *Broker) url(scheme, host string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(b.cfg.User, b.cfg.Password), Host: host, Path: "/"}
	if b.cfg.VHost != "/" {
		u.Path, u.RawPath = "/"+b.cfg.VHost, "/"+url.PathEscape(b.cfg.VHost)
	}
	return u.String()
}

// Done returns a channel that is closed when the broker has failed because of
// its data directory; [Broker.Err] returns the error. It stays open after
// Close.
func (b *Broker) Done() <-chan struct{} { return b.failed }

// Err returns the error with which the broker failed, or nil.
func (b *Broker) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

// Close shuts the broker down and gives clients a few seconds to close their
// connections. See [Broker.Shutdown].
func (b *Broker) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := b.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // some clients were cut off: nothing is lost by that
	}
	return err
}

// Shutdown shuts the broker down gracefully: it stops listening, confirms what
// is stored, closes connections with 320 CONNECTION_FORCED, and syncs the
// journal. Connections that are still open when ctx ends are cut, and ctx's
// error is returned. No goroutine of the broker runs after it returned. A
// second call returns [ErrClosed].
func (b *Broker) Shutdown(ctx context.Context) error {
	b.control.Lock()
	defer b.control.Unlock()
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		return ErrClosed
	}
	b.closing = true
	b.mu.Unlock()

	err := b.disconnect(ctx, connectionForced("broker forced connection closure with reason 'shutdown'"))
	close(b.stopped)
	b.done.Wait()
	b.log.Info("stopped")
	return errors.Join(err, b.store.close())
}

// disconnect stops listening and ends all connections with reason; when ctx
// ends it cuts the remaining ones. The caller holds control.
func (b *Broker) disconnect(ctx context.Context, reason error) error {
	b.mu.Lock()
	b.endpoints.close()
	b.mu.Unlock()
	b.accepting.Wait()                                              // no new connection after this
	if stored := b.lastStored(); b.store.awaitSync(stored) == nil { // if it fails, closing the journal returns the error
		b.committed(stored) // these confirms are sent before the connections end
	}
	for _, c := range b.connected() {
		c.force(reason)
	}
	ended := make(chan struct{})
	go func() {
		b.clients.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range b.connected() {
			c.cut()
		}
		<-ended
	}
	return err
}

func (b *Broker) connected() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	return conns
}

// silence stops deliveries to a connection that is about to end.
func (b *Broker) silence(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.silenced = true
}

// forget removes everything that a connection owns. Further calls do nothing.
func (b *Broker) forget(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	b.unschedule(c.heart)
	for _, ch := range c.channels {
		if ch.content != nil {
			b.memory.Add(-int64(len(ch.content.body)))
		}
		b.endChannel(ch)
	}
	clear(c.channels)
	if c.vhost != nil {
		for _, q := range c.vhost.queues {
			if q.owner == c {
				b.deleteQueue(q)
			}
		}
	}
	b.settleQueues()
}

// closeChannel removes everything that a channel owns, while the connection
// stays open.
func (b *Broker) closeChannel(ch *channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endChannel(ch)
	b.settleQueues()
}

func (b *Broker) endChannel(ch *channel) {
	if ch.closed {
		return
	}
	ch.conn.sendConfirmsLocked()
	ch.closed = true
	b.endReplies(ch)
	b.dropTx(ch)
	for _, c := range ch.consumers {
		b.endConsumer(c)
	}
	unacked, _ := ch.settle(0, true) // all of them
	b.requeue(unacked)
}

// feed resumes deliveries to a client that has received what was sent to it.
func (b *Broker) feed(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ch := range c.channels {
		b.touchConsumersOf(ch)
	}
	b.settleQueues()
}

// beat sends heartbeats to a connected client.
func (b *Broker) beat(c *conn, interval time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var next func()
	next = func() {
		c.out.heartbeat()
		c.heart = b.later(now()+interval.Milliseconds(), next)
	}
	c.heart = b.later(now()+interval.Milliseconds(), next)
}

// awaitUnblocked blocks a publisher during an alarm, and notifies the client.
func (c *conn) awaitUnblocked() error {
	for c.b.blocked.Load() {
		c.sendConfirms()
		c.b.mu.Lock()
		unblocked := c.b.unblocked
		if unblocked != nil && !c.toldBlocked && c.canBlock {
			c.toldBlocked = true
			c.out.method(0, &wire.ConnectionBlocked{Reason: c.b.blockReason()})
		}
		c.b.mu.Unlock()
		if unblocked == nil {
			return nil
		}
		select {
		case <-unblocked:
		case <-c.quit:
			c.interrupt.Lock()
			defer c.interrupt.Unlock()
			return c.forced
		}
	}
	return nil
}

func (b *Broker) lastStored() journal.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.store.last
}
