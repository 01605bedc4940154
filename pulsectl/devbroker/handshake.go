package devbroker

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	protocolHeader = "AMQP\x00\x00\x09\x01"
	// olderHeader is the header of AMQP 0-9, whose differences do not matter.
	olderHeader = "AMQP\x01\x01\x00\x09"
)

// handshake agrees with the client on the protocol, checks its credentials, and
// opens the virtual host. As with RabbitMQ, only a client with correct
// credentials, or with the capability for it, is told what is wrong.
func (c *conn) handshake() error {
	header, err := c.in.ReadProtocolHeader()
	if err != nil {
		return err
	}
	if h := string(header[:]); h != protocolHeader && h != olderHeader {
		c.out.raw(protocolHeader) // the supported version
		return errOtherProtocol
	}
	c.out.method(0, &wire.ConnectionStart{
		VersionMinor: 9, ServerProperties: serverProperties(), Mechanisms: "PLAIN AMQPLAIN", Locales: "en_US",
	})
	startOk, err := expect[*wire.ConnectionStartOk](c)
	if err != nil {
		return silently(err)
	}
	if err := c.authenticate(startOk); err != nil {
		return err
	}
	c.out.method(0, &wire.ConnectionTune{
		ChannelMax: channelMax, FrameMax: frameMax, Heartbeat: uint16(c.b.cfg.Heartbeat / time.Second),
	})
	tuneOk, err := expect[*wire.ConnectionTuneOk](c)
	if err != nil {
		return silently(err)
	}
	if err := c.tune(tuneOk); err != nil {
		return silently(err)
	}
	open, err := expect[*wire.ConnectionOpen](c)
	if err != nil {
		return err
	}
	if err := c.open(open.VirtualHost); err != nil {
		return during(open.ID(), err)
	}
	c.out.method(0, &wire.ConnectionOpenOk{})
	return nil
}

// silently converts an exception to a refusal that the client is not told.
func silently(err error) error {
	if e := asException(err); e != nil {
		return fmt.Errorf("%w: %w", errRefused, errText(e.Error()))
	}
	return err
}

// errText is an error that is only a text.
type errText string

func (e errText) Error() string { return string(e) }

// expect reads the method that the handshake expects next.
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
		if m, ok := m.(M); ok {
			return m, nil
		}
		return none, during(m.ID(), channelError("unexpected method in connection state opening"))
	}
}

// RabbitMQ's server properties, on which clients depend; the property
// "devbroker" tells what the broker really is.
const (
	presentedVersion  = "3.10.8"
	presentedPlatform = "Erlang/OTP 25.2.3"
)

func serverProperties() wire.Table {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return wire.Table{
		"product": "RabbitMQ", "version": presentedVersion, "platform": presentedPlatform, "cluster_name": clusterName(),
		"copyright":   "Copyright (c) 2007-2022 VMware, Inc. or its affiliates.",
		"information": "Licensed under the MPL 2.0. Website: https://rabbitmq.com",
		"devbroker":   "Pulse Events' development broker " + version + ", which behaves as RabbitMQ and is none; not for production",
		"capabilities": wire.Table{
			"publisher_confirms": true, "exchange_exchange_bindings": true, "basic.nack": true,
			"consumer_cancel_notify": true, "connection.blocked": true, "consumer_priorities": true,
			"authentication_failure_close": true, "per_consumer_qos": true, "direct_reply_to": true,
		},
	}
}

// clusterName returns RabbitMQ's default name for a cluster of one node.
func clusterName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return "rabbit@" + host
}

// authenticate checks the credentials. A client that cannot be told the reason
// of a refusal only sees the connection end.
func (c *conn) authenticate(m *wire.ConnectionStartOk) error {
	capabilities, _ := m.ClientProperties["capabilities"].(wire.Table)
	c.canCancel, _ = capabilities["consumer_cancel_notify"].(bool)
	c.canBlock, _ = capabilities["connection.blocked"].(bool)
	name, password, err := credentials(m)
	if err != nil {
		return silently(err)
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.user = c.b.authenticated(name, password); c.user != nil {
		c.client.properties, c.client.mechanism = m.ClientProperties, m.Mechanism
		return nil
	}
	c.log.Info("login refused", "user", name)
	if told, _ := capabilities["authentication_failure_close"].(bool); told {
		return loginRefused("Login was refused using authentication mechanism %s. For details see the broker logfile.", m.Mechanism)
	}
	return errRefused
}

// credentials returns the credentials in the client's login.
func credentials(m *wire.ConnectionStartOk) (name, password string, err error) {
	switch m.Mechanism {
	case "PLAIN":
		parts := strings.Split(m.Response, "\x00")
		if len(parts) != 3 || parts[0] != "" {
			return "", "", syntaxError("response invalid")
		}
		return parts[1], parts[2], nil
	case "AMQPLAIN":
		table, err := wire.DecodeTable([]byte(m.Response))
		if err != nil {
			return "", "", syntaxError("%v", err)
		}
		name, named := table["LOGIN"].(string)
		password, given := table["PASSWORD"].(string)
		if !named || !given {
			return "", "", syntaxError("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
		}
		return name, password, nil
	}
	return "", "", commandInvalid("unknown authentication mechanism '%s'", m.Mechanism)
}

// tune applies the values chosen by the client.
func (c *conn) tune(m *wire.ConnectionTuneOk) error {
	for _, v := range []struct {
		name                 string
		value, least, atMost uint32
	}{
		{"frame_max", m.FrameMax, wire.FrameMinSize, frameMax},
		{"channel_max", uint32(m.ChannelMax), 1, channelMax},
	} {
		switch {
		case v.value == 0:
			return notAllowed("negotiated %s = 0 (no limit) is higher than the maximum allowed value (%d)", v.name, v.atMost)
		case v.value < v.least:
			return notAllowed("negotiated %s = %d is lower than the minimum allowed value (%d)", v.name, v.value, v.least)
		case v.value > v.atMost:
			return notAllowed("negotiated %s = %d is higher than the maximum allowed value (%d)", v.name, v.value, v.atMost)
		}
	}
	c.channelMax = m.ChannelMax
	c.in.SetFrameMax(m.FrameMax)
	c.out.setFrameMax(m.FrameMax)
	interval := time.Duration(m.Heartbeat) * time.Second
	c.patience = 2 * interval
	c.b.mu.Lock()
	c.client.heartbeat, c.client.frameMax = m.Heartbeat, m.FrameMax
	c.b.mu.Unlock()
	if interval > 0 {
		c.b.beat(c, interval/2)
	}
	return nil
}

// open opens a virtual host.
func (c *conn) open(name string) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	v := c.b.vhosts[name]
	switch {
	case v == nil:
		return notAllowed("vhost %s not found", name)
	case c.user.grants[name] == nil:
		return notAllowed("access to vhost '%s' refused for user '%s'", name, c.user.name)
	}
	c.vhost = v
	return nil
}
