package devbroker

import (
	"crypto/subtle"
	"runtime/debug"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const protocolHeader = "AMQP\x00\x00\x09\x01"

// handshake agrees with the client on the protocol, checks its credentials, and opens the virtual host.
func (c *conn) handshake() error {
	header, err := c.in.ReadProtocolHeader()
	if err != nil {
		return err
	}
	if string(header[:]) != protocolHeader {
		c.out.raw(protocolHeader) // the version we would speak, and good-bye
		c.log.Info("connection refused: not AMQP 0-9-1")
		return errClientClosed
	}
	c.out.method(0, &wire.ConnectionStart{
		VersionMinor: 9, ServerProperties: serverProperties(), Mechanisms: "AMQPLAIN PLAIN", Locales: "en_US",
	})
	startOk, err := expect[*wire.ConnectionStartOk](c)
	if err != nil {
		return err
	}
	if err := c.authenticate(startOk); err != nil {
		return err
	}
	c.out.method(0, &wire.ConnectionTune{
		ChannelMax: channelMax, FrameMax: frameMax, Heartbeat: uint16(c.b.cfg.Heartbeat / time.Second),
	})
	tuneOk, err := expect[*wire.ConnectionTuneOk](c)
	if err != nil {
		return err
	}
	if err := c.tune(tuneOk); err != nil {
		return err
	}
	open, err := expect[*wire.ConnectionOpen](c)
	if err != nil {
		return err
	}
	if open.VirtualHost != c.b.cfg.VHost {
		return notAllowed("vhost %s not found", open.VirtualHost)
	}
	c.out.method(0, &wire.ConnectionOpenOk{})
	return nil
}

// expect reads the method that the handshake is at.
func expect[M wire.Method](c *conn) (M, error) {
	var none M
	for {
		f, err := c.in.Next()
		if err != nil {
			return none, err
		}
		switch f.Type {
		case wire.FrameHeartbeat:
			continue
		case wire.FrameMethod:
		default:
			return none, unexpectedFrame("frame of type %d during the handshake", f.Type)
		}
		m, err := wire.ParseMethod(f.Payload)
		if err != nil {
			return none, syntaxError("%v", err)
		}
		switch m := m.(type) {
		case M:
			return m, nil
		case *wire.ConnectionClose:
			c.out.method(0, &wire.ConnectionCloseOk{})
			return none, errClientClosed
		}
		return none, commandInvalid("%s, expected %s", wire.Name(m.ID()), wire.Name(none.ID()))
	}
}

func serverProperties() wire.Table {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return wire.Table{
		"product": "devbroker", "version": version, "platform": "Go",
		"information": "An AMQP broker for development and tests, not for production",
		"capabilities": wire.Table{
			"publisher_confirms": true, "exchange_exchange_bindings": true, "basic.nack": true,
			"consumer_cancel_notify": true, "connection.blocked": true, "consumer_priorities": true,
			"authentication_failure_close": true, "per_consumer_qos": true,
		},
	}
}

// authenticate checks the credentials. A client that cannot be told why it is refused only sees the connection end.
func (c *conn) authenticate(m *wire.ConnectionStartOk) error {
	capabilities, _ := m.ClientProperties["capabilities"].(wire.Table)
	c.canCancel, _ = capabilities["consumer_cancel_notify"].(bool)
	c.canBlock, _ = capabilities["connection.blocked"].(bool)
	var user, password string
	switch m.Mechanism {
	case "PLAIN":
		_, credentials, _ := strings.Cut(m.Response, "\x00")
		user, password, _ = strings.Cut(credentials, "\x00")
	case "AMQPLAIN":
		credentials, err := wire.DecodeTable([]byte(m.Response))
		if err != nil {
			return syntaxError("%v", err)
		}
		user, _ = credentials["LOGIN"].(string)
		password, _ = credentials["PASSWORD"].(string)
	default:
		return commandInvalid("unknown authentication mechanism '%s'", m.Mechanism)
	}
	known := subtle.ConstantTimeCompare([]byte(user), []byte(c.b.cfg.User)) &
		subtle.ConstantTimeCompare([]byte(password), []byte(c.b.cfg.Password))
	if known == 1 {
		return nil
	}
	if told, _ := capabilities["authentication_failure_close"].(bool); told {
		return loginRefused("Login was refused using authentication mechanism %s", m.Mechanism)
	}
	c.log.Info("login refused", "user", user)
	return errClientClosed
}

// tune takes over what the client settled for. Zero means that it has no limit of its own.
func (c *conn) tune(m *wire.ConnectionTuneOk) error {
	if m.FrameMax == 0 {
		m.FrameMax = frameMax
	}
	if m.ChannelMax == 0 {
		m.ChannelMax = channelMax
	}
	switch {
	case m.FrameMax < wire.FrameMinSize:
		return notAllowed("negotiated frame_max = %d is lower than the minimum allowed value (%d)", m.FrameMax, wire.FrameMinSize)
	case m.FrameMax > frameMax:
		return notAllowed("negotiated frame_max = %d is higher than the maximum allowed value (%d)", m.FrameMax, frameMax)
	case m.ChannelMax > channelMax:
		return notAllowed("negotiated channel_max = %d is higher than the maximum allowed value (%d)", m.ChannelMax, channelMax)
	}
	c.channelMax = m.ChannelMax
	c.in.SetFrameMax(m.FrameMax)
	c.out.setFrameMax(m.FrameMax)
	interval := time.Duration(m.Heartbeat) * time.Second
	c.patience = 2 * interval
	if interval > 0 {
		c.b.beat(c, interval/2)
	}
	return nil
}
