package wire

// Methods of the classes connection and channel.

// ConnectionStart is connection.start.
type ConnectionStart struct {
	VersionMajor, VersionMinor byte
	ServerProperties           Table
	Mechanisms, Locales        string
}

// ID returns the method's class and number.
func (*ConnectionStart) ID() uint32 { return classConnection<<16 | 10 }

func (m *ConnectionStart) walk(c *coder) {
	c.octet(&m.VersionMajor)
	c.octet(&m.VersionMinor)
	c.table(&m.ServerProperties)
	c.longstr(&m.Mechanisms)
	c.longstr(&m.Locales)
}

// ConnectionStartOk is connection.start-ok.
type ConnectionStartOk struct {
	ClientProperties            Table
	Mechanism, Response, Locale string
}

// ID returns the method's class and number.
func (*ConnectionStartOk) ID() uint32 { return classConnection<<16 | 11 }

func (m *ConnectionStartOk) walk(c *coder) {
	c.table(&m.ClientProperties)
	c.shortstr(&m.Mechanism)
	c.longstr(&m.Response)
	c.shortstr(&m.Locale)
}

// ConnectionSecure is connection.secure.
type ConnectionSecure struct {
	Challenge string
}

// ID returns the method's class and number.
func (*ConnectionSecure) ID() uint32 { return classConnection<<16 | 20 }

func (m *ConnectionSecure) walk(c *coder) {
	c.longstr(&m.Challenge)
}

// ConnectionSecureOk is connection.secure-ok.
type ConnectionSecureOk struct {
	Response string
}

// ID returns the method's class and number.
func (*ConnectionSecureOk) ID() uint32 { return classConnection<<16 | 21 }

func (m *ConnectionSecureOk) walk(c *coder) {
	c.longstr(&m.Response)
}

// ConnectionTune is connection.tune.
type ConnectionTune struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID returns the method's class and number.
func (*ConnectionTune) ID() uint32 { return classConnection<<16 | 30 }

func (m *ConnectionTune) walk(c *coder) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionTuneOk is connection.tune-ok.
type ConnectionTuneOk struct {
	ChannelMax uint16
	FrameMax   uint32
	Heartbeat  uint16
}

// ID returns the method's class and number.
func (*ConnectionTuneOk) ID() uint32 { return classConnection<<16 | 31 }

func (m *ConnectionTuneOk) walk(c *coder) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionOpen is connection.open.
type ConnectionOpen struct {
	VirtualHost string
}

// ID returns the method's class and number.
func (*ConnectionOpen) ID() uint32 { return classConnection<<16 | 40 }

func (m *ConnectionOpen) walk(c *coder) {
	c.shortstr(&m.VirtualHost)
	c.reservedStr()
	c.flags(new(bool))
}

// ConnectionOpenOk is connection.open-ok.
type ConnectionOpenOk struct{}

// ID returns the method's class and number.
func (*ConnectionOpenOk) ID() uint32 { return classConnection<<16 | 41 }

func (*ConnectionOpenOk) walk(c *coder) {
	c.reservedStr()
}

// ConnectionClose is connection.close.
type ConnectionClose struct {
	ReplyCode         uint16
	ReplyText         string
	ClassID, MethodID uint16
}

// ID returns the method's class and number.
func (*ConnectionClose) ID() uint32 { return classConnection<<16 | 50 }

func (m *ConnectionClose) walk(c *coder) {
	c.short(&m.ReplyCode)
	c.shortstr(&m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ConnectionCloseOk is connection.close-ok.
type ConnectionCloseOk struct{}

// ID returns the method's class and number.
func (*ConnectionCloseOk) ID() uint32 { return classConnection<<16 | 51 }

func (*ConnectionCloseOk) walk(*coder) {}

// ConnectionBlocked is connection.blocked.
type ConnectionBlocked struct {
	Reason string
}

// ID returns the method's class and number.
func (*ConnectionBlocked) ID() uint32 { return classConnection<<16 | 60 }

func (m *ConnectionBlocked) walk(c *coder) {
	c.shortstr(&m.Reason)
}

// ConnectionUnblocked is connection.unblocked.
type ConnectionUnblocked struct{}

// ID returns the method's class and number.
func (*ConnectionUnblocked) ID() uint32 { return classConnection<<16 | 61 }

func (*ConnectionUnblocked) walk(*coder) {}

// ConnectionUpdateSecret is connection.update-secret.
type ConnectionUpdateSecret struct {
	NewSecret, Reason string
}

// ID returns the method's class and number.
func (*ConnectionUpdateSecret) ID() uint32 { return classConnection<<16 | 70 }

func (m *ConnectionUpdateSecret) walk(c *coder) {
	c.longstr(&m.NewSecret)
	c.shortstr(&m.Reason)
}

// ConnectionUpdateSecretOk is connection.update-secret-ok.
type ConnectionUpdateSecretOk struct{}

// ID returns the method's class and number.
func (*ConnectionUpdateSecretOk) ID() uint32 { return classConnection<<16 | 71 }

func (*ConnectionUpdateSecretOk) walk(*coder) {}

// ChannelOpen is channel.open.
type ChannelOpen struct{}

// ID returns the method's class and number.
func (*ChannelOpen) ID() uint32 { return classChannel<<16 | 10 }

func (*ChannelOpen) walk(c *coder) {
	c.reservedStr()
}

// ChannelOpenOk is channel.open-ok.
type ChannelOpenOk struct{}

// ID returns the method's class and number.
func (*ChannelOpenOk) ID() uint32 { return classChannel<<16 | 11 }

func (*ChannelOpenOk) walk(c *coder) {
	c.longstr(new(string))
}

// ChannelFlow is channel.flow.
type ChannelFlow struct {
	Active bool
}

// ID returns the method's class and number.
func (*ChannelFlow) ID() uint32 { return classChannel<<16 | 20 }

func (m *ChannelFlow) walk(c *coder) {
	c.flags(&m.Active)
}

// ChannelFlowOk is channel.flow-ok.
type ChannelFlowOk struct {
	Active bool
}

// ID returns the method's class and number.
func (*ChannelFlowOk) ID() uint32 { return classChannel<<16 | 21 }

func (m *ChannelFlowOk) walk(c *coder) {
	c.flags(&m.Active)
}

// ChannelClose is channel.close.
type ChannelClose struct {
	ReplyCode         uint16
	ReplyText         string
	ClassID, MethodID uint16
}

// ID returns the method's class and number.
func (*ChannelClose) ID() uint32 { return classChannel<<16 | 40 }

func (m *ChannelClose) walk(c *coder) {
	c.short(&m.ReplyCode)
	c.shortstr(&m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ChannelCloseOk is channel.close-ok.
type ChannelCloseOk struct{}

// ID returns the method's class and number.
func (*ChannelCloseOk) ID() uint32 { return classChannel<<16 | 41 }

func (*ChannelCloseOk) walk(*coder) {}
