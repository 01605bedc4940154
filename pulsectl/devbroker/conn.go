package devbroker

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	handshakeTimeout = 10 * time.Second
	// closeTimeout is how long a client may take to agree to the end of its connection.
	closeTimeout = 3 * time.Second
	// sendTimeout is how long a client may take to receive what is sent to it.
	sendTimeout = 30 * time.Second

	channelMax = 2047
	frameMax   = 131072
)

// errClientClosed ends a connection that the client closed in order.
var errClientClosed = errors.New("closed by the client")

// conn is one client's connection. Two goroutines serve it: one reads and handles, which owns the fields above the
// line, and one writes. The broker's lock guards the fields below the line.
type conn struct {
	b          *Broker
	nc         net.Conn
	in         *wire.Reader
	out        *outbound
	log        *slog.Logger
	patience   time.Duration // how long to wait for the client's next octet; 0: for ever
	channelMax uint16
	canCancel  bool // the client understands basic.cancel from us
	canBlock   bool // the client understands connection.blocked
	quit       chan struct{}

	interrupt sync.Mutex // held to change the read deadline
	forced    error      // why the broker ends the connection; guarded by interrupt

	// ---

	channels    map[uint16]*channel // the reader changes it, under the lock
	heart       *task               // sends the next heartbeat
	toldBlocked bool
	silenced    bool // it gets no further deliveries
	gone        bool
}

func newConn(b *Broker, nc net.Conn) *conn {
	c := &conn{
		b: b, nc: nc, out: newOutbound(), quit: make(chan struct{}), channels: make(map[uint16]*channel),
		channelMax: channelMax, log: b.log.With("client", nc.RemoteAddr().String()),
	}
	c.in = wire.NewReader(patientReader{c})
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.patience = handshakeTimeout
	err := c.handshake()
	if err == nil {
		err = c.read()
	}
	orderly := c.isForced(err)
	if orderly {
		c.b.silence(c) // what the client still acknowledges shall count
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

// end tells the client why its connection ends, if there is somebody to tell, and waits until it has read that. If the
// broker ends in order, the acknowledgements that are under way are taken in meanwhile.
func (c *conn) end(err error, orderly bool) {
	if errors.Is(err, errClientClosed) {
		return
	}
	e := asException(err)
	if e == nil {
		c.log.Info("connection lost", "error", err)
		c.out.abandon()
		return
	}
	c.log.Info("closing connection", "error", e)
	c.out.method(0, &wire.ConnectionClose{ReplyCode: e.code, ReplyText: e.text})
	if errors.Is(err, wire.ErrMalformed) {
		return // where the next frame begins is anybody's guess
	}
	c.interrupt.Lock()
	c.forced = nil
	c.interrupt.Unlock()
	c.patience = closeTimeout
	for deadline := time.Now().Add(closeTimeout); time.Now().Before(deadline); {
		f, err := c.in.Next()
		if err != nil {
			return
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		switch m, _ := wire.ParseMethod(f.Payload); m.(type) {
		case *wire.BasicAck, *wire.BasicNack, *wire.BasicReject:
			if ch := c.channels[f.Channel]; orderly && ch != nil && ch.content == nil {
				_ = ch.handle(m) // of a mistake nobody needs to hear any more
			}
		case *wire.ConnectionCloseOk:
			return
		case *wire.ConnectionClose:
			c.out.method(0, &wire.ConnectionCloseOk{})
			return
		}
	}
}

// write sends what is queued until there will be nothing more.
func (c *conn) write() {
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

// force ends the connection with an exception from outside its goroutines. Only the first call counts.
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

// isForced tells whether err is an exception that came from outside the connection.
func (c *conn) isForced(err error) bool {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	return err != nil && err == c.forced && asException(err) != nil
}

// cut ends the connection as a broken network does.
func (c *conn) cut() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.out.abandon()
	_ = c.nc.Close()
	c.force(net.ErrClosed)
}

// patientReader reads from the network, but no longer than the connection's patience, nor beyond its forced end.
type patientReader struct{ c *conn }

func (r patientReader) Read(p []byte) (int, error) {
	c := r.c
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
	if c.patience == 0 {
		return c.nc.SetReadDeadline(time.Time{})
	}
	return c.nc.SetReadDeadline(time.Now().Add(c.patience))
}
