package devbroker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	handshakeTimeout = 10 * time.Second
	// sendTimeout is how long a client may take to receive sent data.
	sendTimeout = 30 * time.Second

	channelMax = 2047
	frameMax   = 131072
)

// conn is one client's connection. Two goroutines serve it: one reads and
// handles frames, and owns the fields above the line, and one writes. The
// broker's lock guards the fields below the line; only the reading goroutine
// changes those of the handshake, with the lock held.
type conn struct {
	b          *Broker
	nc         net.Conn
	in         *wire.Reader
	out        *outbound
	log        *slog.Logger
	patience   time.Duration // how long to wait for the client's next octet; 0: forever
	deadline   time.Time     // when to stop waiting in any case; zero: never
	channelMax uint16
	canCancel  bool // the client understands basic.cancel from us
	canBlock   bool // the client understands connection.blocked
	unsent     []*channel
	quit       chan struct{}

	interrupt sync.Mutex // held while changing the read deadline
	forced    error      // why the broker ends the connection; guarded by interrupt

	// ---

	user        *user        // nil before the login
	vhost       *virtualHost // nil before connection.open
	client      clientInfo
	channels    map[uint16]*channel // changed by the reader, with the lock held
	heart       *task               // sends the next heartbeat
	toldBlocked bool
	silenced    bool // it gets no further deliveries
	gone        bool
}

// clientInfo describes a connection.
type clientInfo struct {
	name       string // the connection's name in the management API
	since      time.Time
	properties wire.Table
	mechanism  string
	heartbeat  uint16 // seconds
	frameMax   uint32
	tls        bool
}

func newConn(b *Broker, nc net.Conn, tls bool) *conn {
	c := &conn{
		b: b, nc: nc, out: newOutbound(), quit: make(chan struct{}), channels: make(map[uint16]*channel),
		channelMax: channelMax, log: b.log.With("client", nc.RemoteAddr().String()),
		client: clientInfo{name: nc.RemoteAddr().String() + " -> " + nc.LocalAddr().String(), since: time.Now(), tls: tls},
	}
	c.in = wire.NewReader(patientReader{c})
	return c
}

// serve runs the connection until its end.
func (c *conn) serve() {
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.deadline = time.Now().Add(handshakeTimeout)
	err := c.handshake()
	if err == nil {
		c.deadline = time.Time{}
		err = c.read()
	}
	orderly := c.isForced(err)
	if orderly {
		c.b.silence(c) // acknowledgements of the client still count
	} else {
		c.b.forget(c)
	}
	c.end(err, orderly)
	c.b.forget(c)
	c.out.close()
	writer.Wait()
	_ = c.nc.Close()
}

// read handles frames until the connection ends.
func (c *conn) read() error {
	for {
		f, err := c.in.Next()
		if err != nil {
			return err
		}
		if err := c.handle(f); err != nil {
			return err
		}
		c.out.awaitRoom()
	}
}

// write sends queued data until nothing more will follow.
func (c *conn) write() {
	defer c.out.end()
	var used []byte
	for {
		next, ok := c.out.take(used)
		if !ok {
			return
		}
		err := c.b.store.write(next.barrier)
		if err == nil {
			err = c.nc.SetWriteDeadline(time.Now().Add(sendTimeout))
		}
		if err == nil {
			_, err = c.nc.Write(next.bytes)
		}
		if err != nil {
			c.out.abandon()
			_ = c.nc.Close()
			return
		}
		if used = next.bytes; next.starved {
			c.b.feed(c)
		}
	}
}

// force ends the connection with an exception from outside its goroutines. Only
// the first call has an effect.
func (c *conn) force(err error) {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	select {
	case <-c.quit:
		return
	default:
	}
	c.forced = err
	close(c.quit)
	_ = c.nc.SetReadDeadline(time.Now())
}

// isForced reports whether err is an exception from outside the connection.
func (c *conn) isForced(err error) bool {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	return err != nil && err == c.forced && asException(err) != nil
}

// cut ends the connection like a broken network.
func (c *conn) cut() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.out.abandon()
	_ = c.nc.Close()
	c.force(net.ErrClosed)
}

// patientReader reads from the network, limited by the connection's patience
// and its forced end.
type patientReader struct{ c *conn }

func (r patientReader) Read(p []byte) (int, error) {
	c := r.c
	c.sendConfirms()
	if err := c.arm(); err != nil {
		return 0, err
	}
	n, err := c.nc.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.interrupt.Lock()
		defer c.interrupt.Unlock()
		if c.forced != nil {
			return n, c.forced
		}
	}
	return n, err
}

// arm sets the deadline of the next read.
func (c *conn) arm() error {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if c.forced != nil {
		return c.forced
	}
	deadline := c.deadline
	if c.patience > 0 {
		if soonest := time.Now().Add(c.patience); deadline.IsZero() || soonest.Before(deadline) {
			deadline = soonest
		}
	}
	return c.nc.SetReadDeadline(deadline)
}

// half reports whether the client has only stopped sending, and may still read.
func half(err error) bool { return errors.Is(err, io.EOF) }
