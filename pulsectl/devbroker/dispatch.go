package devbroker

import (
	"errors"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// handle processes one frame. An error ends the connection.
func (c *conn) handle(f wire.Frame) error {
	switch f.Type {
	case wire.FrameHeartbeat:
		if f.Channel != 0 {
			return unexpectedFrame("%s", f.Describe())
		}
		return nil
	case wire.FrameMethod:
	case wire.FrameHeader, wire.FrameBody:
		return c.handleContent(f)
	default:
		return frameError("%s: unknown_frame", f.Describe())
	}
	m, err := wire.ParseMethod(f.Payload)
	var unknown *wire.ErrUnknownMethod
	var undecodable *wire.FrameError
	switch {
	case errors.As(err, &unknown):
		return notImplemented("%v", err)
	case errors.As(err, &undecodable):
		return during(wire.MethodID(f.Payload), frameError("%s", undecodable.Text)) // the beginning of the next frame is known
	case err != nil:
		return frameError("%v", err)
	case f.Channel == 0:
		return c.handleConnection(m)
	}
	ch := c.channels[f.Channel]
	if ch == nil {
		if len(c.channels) >= int(c.channelMax) {
			return notAllowed("number of channels opened (%d) has reached the negotiated channel_max (%d)", len(c.channels), c.channelMax)
		}
		if _, ok := m.(*wire.ChannelOpen); !ok {
			return during(m.ID(), channelError("expected 'channel.open'"))
		}
		return c.openChannel(f.Channel)
	}
	return c.raise(ch, m.ID(), ch.handle(m))
}

// raise closes the channel for an error that concerns only the channel, and
// returns one that concerns the connection.
func (c *conn) raise(ch *channel, method uint32, err error) error {
	var e *exception
	if !errors.As(during(method, err), &e) || e.hard {
		return err
	}
	c.log.Info("closing channel", "channel", ch.id, "error", e)
	c.b.closeChannel(ch)
	ch.closing, ch.content = true, nil
	ch.send(&wire.ChannelClose{
		ReplyCode: e.code, ReplyText: e.reply(), ClassID: uint16(method >> 16), MethodID: uint16(method),
	})
	return nil
}

func (c *conn) handleConnection(m wire.Method) error {
	switch m.(type) {
	case *wire.ConnectionClose:
		c.b.forget(c)
		c.out.method(0, &wire.ConnectionCloseOk{})
		return errClientClosed
	case *wire.ConnectionUpdateSecret:
		// It has no effect with RabbitMQ's own users either: a password is
		// checked only at the handshake.
		c.out.method(0, &wire.ConnectionUpdateSecretOk{})
		return nil
	}
	return during(m.ID(), channelError("unexpected method in connection state running"))
}

// openChannel opens a channel that is not open.
func (c *conn) openChannel(id uint16) error {
	ch := &channel{id: id, conn: c, consumers: make(map[string]*consumer)}
	c.b.mu.Lock()
	c.channels[id] = ch
	c.b.mu.Unlock()
	ch.send(&wire.ChannelOpenOk{})
	return nil
}

// drop removes a channel once both sides have closed it.
func (c *conn) drop(ch *channel) {
	c.b.mu.Lock()
	delete(c.channels, ch.id)
	c.b.mu.Unlock()
}

// handleContent processes header and body frames.
func (c *conn) handleContent(f wire.Frame) error {
	ch := c.channels[f.Channel]
	switch {
	case f.Channel == 0:
		return unexpectedFrame("%s", f.Describe())
	case ch != nil && ch.closing:
		return nil
	case ch == nil || ch.content == nil:
		return unexpectedFrame("expected method frame, got non method frame instead")
	case (f.Type == wire.FrameHeader) == ch.content.started:
		return ch.content.interrupted()
	}
	u := ch.content
	if f.Type == wire.FrameHeader {
		if err := u.header(f.Payload, c.b.cfg.MaxMessageSize); err != nil {
			return c.raise(ch, u.method.ID(), err)
		}
	} else {
		if uint64(len(u.body)+len(f.Payload)) > u.size {
			return frameError("body of more than the %d bytes announced", u.size)
		}
		if err := c.b.reserve(len(f.Payload)); err != nil {
			return err
		}
		u.body = append(u.body, f.Payload...)
	}
	if !u.complete() {
		return nil
	}
	ch.content = nil
	c.b.store.throttle()
	c.b.memory.Add(-int64(len(u.body))) // from now on it counts as a message
	return c.raise(ch, u.method.ID(), c.b.receive(ch, u))
}

// handle processes a method of an open channel.
func (ch *channel) handle(m wire.Method) error {
	if ch.closing {
		switch m.(type) {
		case *wire.ChannelClose:
			ch.send(&wire.ChannelCloseOk{})
		case *wire.ChannelCloseOk:
			ch.conn.drop(ch)
		}
		return nil
	}
	if ch.content != nil {
		return ch.content.interrupted()
	}
	b := ch.conn.b
	switch m := m.(type) {
	case *wire.BasicPublish:
		return ch.beginPublish(m)
	case *wire.BasicAck:
		return b.settleDeliveries(ch, m.DeliveryTag, m.Multiple, b.acknowledge)
	case *wire.BasicNack:
		return b.refuseDeliveries(ch, m.DeliveryTag, m.Multiple, m.Requeue)
	case *wire.BasicReject:
		return b.refuseDeliveries(ch, m.DeliveryTag, false, m.Requeue)
	case *wire.BasicQos:
		return b.qos(ch, m)
	case *wire.BasicConsume:
		return b.consume(ch, m)
	case *wire.BasicCancel:
		return b.cancel(ch, m)
	case *wire.BasicCancelOk:
		return nil // the answer to the broker's basic.cancel
	case *wire.BasicGet:
		return b.get(ch, m)
	case *wire.BasicRecover:
		return b.recoverDeliveries(ch, m.Requeue, true)
	case *wire.BasicRecoverAsync:
		return b.recoverDeliveries(ch, m.Requeue, false)
	case *wire.QueueDeclare, *wire.QueueBind, *wire.QueueUnbind, *wire.QueuePurge, *wire.QueueDelete,
		*wire.ExchangeDeclare, *wire.ExchangeDelete, *wire.ExchangeBind, *wire.ExchangeUnbind:
		return b.handleTopology(ch, m)
	case *wire.ConfirmSelect:
		if ch.tx != nil {
			return preconditionFailed("cannot switch from tx to confirm mode")
		}
		ch.confirming = true
		if !m.NoWait {
			ch.send(&wire.ConfirmSelectOk{})
		}
		return nil
	case *wire.ChannelFlow:
		if !m.Active {
			return notImplemented("active=false")
		}
		ch.send(&wire.ChannelFlowOk{Active: true})
		return nil
	case *wire.ChannelOpen:
		return channelError("second 'channel.open' seen")
	case *wire.ChannelClose:
		b.closeChannel(ch)
		ch.conn.drop(ch)
		ch.send(&wire.ChannelCloseOk{})
		return nil
	case *wire.TxSelect:
		return b.selectTx(ch)
	case *wire.TxCommit:
		return b.commit(ch)
	case *wire.TxRollback:
		return b.rollback(ch)
	}
	return commandInvalid("unimplemented method")
}

// beginPublish starts to receive a message.
func (ch *channel) beginPublish(m *wire.BasicPublish) error {
	if m.Immediate {
		return notImplemented("immediate=true")
	}
	if err := ch.conn.awaitUnblocked(); err != nil {
		return err
	}
	ch.content = &upload{method: m}
	if ch.confirming {
		ch.published++
		ch.content.tag = ch.published
	}
	return nil
}
