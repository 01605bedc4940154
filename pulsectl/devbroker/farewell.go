package devbroker

import (
	"errors"
	"io"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// How connections end. As with RabbitMQ, who speaks last is who closes TCP: after connection.close-ok from us that is
// the client, after its own connection.close-ok we do. Some clients take the end of TCP that comes with the answer to
// their close for a failure, or wait for ever. Every wait is bounded, and ends at once when the broker does.

const (
	// closingTime is how long a client may take to close TCP after an orderly close, or to agree to one. A heartbeat
	// that is shorter bounds it, too.
	closingTime = 30 * time.Second
	// forcedTime is the same while the broker is going down.
	forcedTime = 3 * time.Second
	// silentTime is how long a client whose handshake failed, or whose frames make no sense, is listened to and not
	// answered before TCP is closed: it must not learn quickly that a password is wrong, nor lose our last word because
	// we did not read what it had sent.
	silentTime = 3 * time.Second
)

var (
	// errClientClosed ends a connection that the client closed in order.
	errClientClosed = errors.New("closed by the client")
	// errRefused ends a connection that was not established, and about which the client is told nothing more.
	errRefused = errors.New("refused")
	// errOtherProtocol ends a connection on which something else than AMQP 0-9-1 is spoken.
	errOtherProtocol = errors.New("not AMQP 0-9-1")
)

// end tells the client why its connection ends, if there is somebody to tell, and waits until one side may close TCP.
// If the broker ends in order, the acknowledgements that are under way are taken in meanwhile.
func (c *conn) end(err error, orderly bool) {
	e := asException(err)
	switch {
	case errors.Is(err, errClientClosed):
		c.log.Debug("connection closed")
		c.await(c.closingTime(), false)
		return
	case errors.Is(err, errRefused), errors.Is(err, errOtherProtocol):
		c.log.Info("connection refused", "error", err)
		c.out.close()
		if errors.Is(err, errOtherProtocol) {
			c.closeWrite() // it may want to see at once that this leads nowhere
		}
		c.drain(silentTime)
		return
	case e == nil:
		c.log.Info("connection lost", "error", err)
		if !half(err) {
			c.out.abandon()
		}
		return
	}
	c.log.Info("closing connection", "error", e)
	c.out.method(0, &wire.ConnectionClose{
		ReplyCode: e.code, ReplyText: e.reply(), ClassID: uint16(e.method >> 16), MethodID: uint16(e.method),
	})
	if errors.Is(err, wire.ErrMalformed) {
		c.out.close()
		c.drain(silentTime) // where the next frame begins is anybody's guess
		return
	}
	c.interrupt.Lock()
	c.forced = nil
	c.interrupt.Unlock()
	if orderly {
		c.await(forcedTime, true)
	} else {
		c.await(c.closingTime(), false)
	}
}

func (c *conn) closingTime() time.Duration {
	heartbeat := time.Duration(c.client.heartbeat) * time.Second
	switch {
	case heartbeat > 0:
		return min(heartbeat, closingTime)
	case c.vhost == nil:
		return silentTime
	}
	return closingTime
}

// await reads until the client agrees to the end of the connection, or closes TCP, or for so long. acks tells whether
// acknowledgements still count.
func (c *conn) await(limit time.Duration, acks bool) {
	c.patience, c.deadline = 0, time.Now().Add(limit)
	for {
		f, err := c.in.Next()
		if err != nil {
			return
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		switch m, _ := wire.ParseMethod(f.Payload); m.(type) {
		case *wire.BasicAck, *wire.BasicNack, *wire.BasicReject:
			if ch := c.channels[f.Channel]; acks && ch != nil && ch.content == nil {
				_ = ch.handle(m) // of a mistake nobody needs to hear any more
			}
		case *wire.ConnectionCloseOk:
			return
		case *wire.ConnectionClose:
			c.out.method(0, &wire.ConnectionCloseOk{}) // both want to end it, or it asks again
		}
	}
}

// drain reads and drops until the client closes TCP, or for so long.
func (c *conn) drain(limit time.Duration) {
	c.patience, c.deadline = 0, time.Now().Add(limit)
	_, _ = io.Copy(io.Discard, patientReader{c})
}

// closeWrite closes the sending half of TCP once all that is queued was sent.
func (c *conn) closeWrite() {
	c.out.awaitSent()
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
