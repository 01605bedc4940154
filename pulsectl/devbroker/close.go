package devbroker

import (
	"errors"
	"io"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// How connections end. As with RabbitMQ, the side that speaks last closes TCP:
// after the broker's connection.close-ok that is the client, after the client's
// connection.close-ok the broker. Some clients take a TCP close that arrives
// with the answer to their close for a failure, or wait forever. Every wait is
// limited, and ends at once when the broker ends.

const (
	// closingTime is how long a client may take to close TCP after an orderly
	// close, or to agree to one. A shorter heartbeat limits it, too.
	closingTime = 30 * time.Second
	// forcedTime is the same during shutdown.
	forcedTime = 3 * time.Second
	// silentTime is how long the broker keeps reading without an answer from a
	// client whose handshake failed, or whose frames are invalid, before it
	// closes TCP: the client must not learn quickly that a password is wrong,
	// nor lose the last answer because its data was not read.
	silentTime = 3 * time.Second
)

var (
	// errClientClosed ends a connection that the client closed in an orderly
	// way.
	errClientClosed = errors.New("closed by the client")
	// errRefused ends a connection that was not established, and for which the
	// client gets no further answer.
	errRefused = errors.New("refused")
	// errOtherProtocol ends a connection that does not use AMQP 0-9-1.
	errOtherProtocol = errors.New("not AMQP 0-9-1")
)

// end tells the client why its connection ends, if possible, and waits until
// one side may close TCP. If the broker ends gracefully, acknowledgements in
// flight are processed meanwhile.
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
			c.closeWrite() // the client should notice the end at once
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
		c.drain(silentTime) // the beginning of the next frame is unknown
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

// await reads until the client agrees to the end of the connection, or closes
// TCP, or limit has passed. acks says whether acknowledgements still count.
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
				_ = ch.handle(m) // errors no longer matter
			}
		case *wire.ConnectionCloseOk:
			return
		case *wire.ConnectionClose:
			c.out.method(0, &wire.ConnectionCloseOk{}) // both sides close, or it asks again
		}
	}
}

// drain reads and discards until the client closes TCP, or limit has passed.
func (c *conn) drain(limit time.Duration) {
	c.patience, c.deadline = 0, time.Now().Add(limit)
	_, _ = io.Copy(io.Discard, patientReader{c})
}

// closeWrite closes the sending half of TCP once everything queued is sent.
func (c *conn) closeWrite() {
	c.out.awaitSent()
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
