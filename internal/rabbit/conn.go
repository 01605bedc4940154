package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/health"
)

const (
	// writeGrace is what a write may still take once its context has ended,
	// before it is held to be stuck and the connection is cut.
	writeGrace = time.Second
	// closeTimeout bounds the closing handshake.
	closeTimeout = 2 * time.Second
)

// ErrAccess is matched by errors of connecting that wrong credentials or
// missing permissions bring about: somebody has to act.
var ErrAccess error = health.Public("access refused by the broker")

// ErrNoAnswer is matched by errors of requests that the broker has not answered in time.
var ErrNoAnswer error = health.Public("no answer from the broker")

// Conn is one connection to a broker. It lives until it is lost or closed and
// is then done with; Supervise makes the next one.
type Conn struct {
	*amqp.Connection
	cfg     Config
	address string // of the broker it leads to, with the credentials used
	host    string // of that address
	port    int
	raw     *guardedConn
	wg      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	blocked string        // the broker's reason while it blocks publishing
	changed chan struct{} // closed and replaced when blocked changes
}

// Dial makes one connection, unsupervised: the caller closes it. It is for
// work that must not touch the connection others use. Of several brokers it
// takes the first that answers.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	d := dialer{cfg: cfg.withDefaults()}
	return d.dial(ctx)
}

// handshake connects to one address until ctx ends. c has its defaults.
func (c Config) handshake(ctx context.Context, address string, secure *tls.Config) (*Conn, error) {
	var raw *guardedConn
	var stop func() bool
	properties := amqp.NewConnectionProperties()
	properties["product"] = "pulse-events"
	properties.SetClientConnectionName(c.Name)
	delete(properties, "version") // the library's, not the product's
	settings := amqp.Config{
		Heartbeat:  c.Heartbeat,
		Properties: properties,
		Dial: func(network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			raw = &guardedConn{Conn: conn, timeout: c.CallTimeout}
			stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
			return raw, nil
		},
	}
	if secure != nil {
		settings.TLSClientConfig = secure.Clone() // the library writes to it
	}
	conn, err := amqp.DialConfig(address, settings)
	if raw != nil && !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		if raw != nil {
			_ = raw.Close() // the library leaves it open after a failed login
		}
		return nil, redact(explainDial(ctx, address, err), address)
	}
	raw.opened(conn.Config.Heartbeat)
	made := &Conn{Connection: conn, cfg: c, address: address, raw: raw, changed: make(chan struct{})}
	if uri, err := amqp.ParseURI(address); err == nil {
		made.host, made.port = uri.Host, uri.Port
	}
	alarms := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	made.wg.Go(func() { made.watchAlarms(alarms) })
	return made, nil
}

// explainDial says which of the things that go wrong on the way in it was.
// A broker that refuses a login may just hang up, for which the library
// answers ErrCredentials; so it does for one that hangs.
func explainDial(ctx context.Context, address string, err error) error {
	var reply *amqp.Error
	var unknownCA *tls.CertificateVerificationError
	shown := RedactURL(address)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("connect to %s: %w", shown, context.Cause(ctx))
	case errors.As(err, &reply) && (reply.Code == amqp.AccessRefused || reply.Code == amqp.NotAllowed):
		return fmt.Errorf("connect to %s: %w: %w; check user, password and virtual host, and the user's permissions on it",
			shown, ErrAccess, err)
	case errors.As(err, &unknownCA):
		return fmt.Errorf("connect to %s: the server's certificate is not trusted: %w; name its certificate authority", shown, err)
	case hungUp(err):
		hint := "an AMQP 0-9-1 port without TLS"
		if strings.HasPrefix(address, "amqps://") {
			hint = "an AMQP 0-9-1 port with TLS, and does it ask for a client's certificate"
		}
		return fmt.Errorf("connect to %s: the server hung up at once: %w; is this %s?", shown, err, hint)
	}
	return fmt.Errorf("connect to %s: %w", shown, err)
}

// hungUp reports whether err, of a handshake, says that the server ended the
// connection. What was being written by then may fail on our side first, and the
// library closes the connection when it has read the end.
func hungUp(err error) bool {
	for _, end := range []error{amqp.ErrClosed, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// System is the broker's name in OpenTelemetry's conventions.
const System = "rabbitmq"

// Server returns host and port of the broker, as the URL has them; empty where the
// library cannot read it.
func (c *Conn) Server() (host string, port int) { return c.host, c.port }

// Close ends the connection, with everything on it, within a few seconds and
// returns when it is gone.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closed = true
	blocked := c.blocked != ""
	c.mu.Unlock()
	if !blocked { // a blocking broker does not read, so it would not answer
		_ = c.CloseDeadline(time.Now().Add(closeTimeout))
	}
	_ = c.raw.Close()
	c.wg.Wait()
}

// Do runs call, one or more requests of the library that wait for the broker's
// answer, which the library can neither bound nor interrupt. When ctx ends, or
// the answer does not come within CallTimeout, Do returns and call is left
// behind, to end with the connection at the latest; so call hands out nothing
// that is used after an error. A connection on which the broker is silent
// without saying that it blocks is cut.
func (c *Conn) Do(ctx context.Context, call func() error) error {
	answer := make(chan error, 1)
	if !c.start(func() { answer <- call() }) {
		return ErrLost
	}
	timer := time.NewTimer(c.cfg.CallTimeout)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	if reason, _ := c.Blocked(); reason != "" {
		return BlockedError(reason)
	}
	_ = c.raw.Close()
	return fmt.Errorf("%w within %v", ErrNoAnswer, c.cfg.CallTimeout)
}

// start runs f in a goroutine that Close waits for, unless Close has begun.
func (c *Conn) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Go(f)
	}
	return !c.closed
}

// cutWhenStuck cuts the connection when ctx ends and done has not been called
// a moment later, as when a write is stuck. done reports whether it came to
// that.
func (c *Conn) cutWhenStuck(ctx context.Context) (done func() (cut bool)) {
	finished, cut := make(chan struct{}), make(chan bool, 1)
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(writeGrace)
		defer grace.Stop()
		select {
		case <-finished:
			cut <- false
		case <-grace.C:
			_ = c.raw.Close()
			cut <- true
		}
	})
	return func() bool {
		close(finished)
		return !stop() && <-cut
	}
}

// closeLater closes a channel whose remaining answers nobody waits for. The
// broker may take its time; Close of the connection ends the wait.
func (c *Conn) closeLater(ch *amqp.Channel) { c.start(func() { _ = ch.Close() }) }

// Blocked returns the broker's reason for not taking messages at present
// (low on memory, or on disk), or "", and a channel that is closed when that
// changes. A broker tells a connection only once it has published.
func (c *Conn) Blocked() (reason string, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked, c.changed
}

func (c *Conn) watchAlarms(alarms <-chan amqp.Blocking) {
	defer c.setBlocked("") // nobody is to wait for a connection that is gone
	for alarm := range alarms {
		reason := ""
		if alarm.Active {
			reason = alarm.Reason
			if reason == "" {
				reason = "no reason given"
			}
			c.cfg.Logger.Warn("broker blocks publishing", "connection", c.cfg.Name, "reason", reason)
		} else {
			c.cfg.Logger.Info("broker takes messages again", "connection", c.cfg.Name)
		}
		c.setBlocked(reason)
	}
}

func (c *Conn) setBlocked(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocked = reason
	close(c.changed)
	c.changed = make(chan struct{})
}

// guardedConn is the library's connection to the network: writes have deadlines
// and are collected in bursts, and reading can be paused.
type guardedConn struct {
	net.Conn
	timeout   time.Duration
	open      atomic.Bool  // the login, which ends with its context, is over
	heartbeat atomic.Int64 // as agreed
	reading   gate
	burst     burst
}

func (g *guardedConn) opened(heartbeat time.Duration) {
	g.heartbeat.Store(int64(heartbeat))
	g.open.Store(true)
	if heartbeat > 0 {
		// The library sets a read deadline with every frame it reads; a peer
		// that falls silent at once would never get one.
		_ = g.Conn.SetReadDeadline(time.Now().Add(patienceFor(heartbeat)))
	}
}

// SetDeadline is what the library calls to bound its closing handshake; from
// then on the deadline stands.
func (g *guardedConn) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		g.open.Store(false)
		g.reading.close() // the answer is to be read
	}
	return g.Conn.SetDeadline(t)
}
