package devbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Config configures a [Broker]. The zero value is a broker on 127.0.0.1:5673 that keeps everything in memory.
type Config struct {
	// Addr is the host and port to listen on. Port 0 picks a free one, which [Broker.Addr] names.
	// Defaults to "127.0.0.1:5673".
	Addr string
	// AllowNonLoopback permits an Addr that other machines can reach. The protocol is not encrypted and the password is
	// public, so that without it such an address is refused.
	AllowNonLoopback bool
	// DataDir is where durable queues and persistent messages are kept. It is created if missing, and used by one broker
	// at a time. Defaults to none: everything is in memory only.
	DataDir string
	// MemoryLimit is how many bytes of messages and definitions may be held before publishers are blocked; at twice as
	// many (plus one message), which only very many connections at once can reach, connections are closed with 506.
	// Defaults to 512 MiB.
	MemoryLimit int64
	// MaxMessageSize is the largest body accepted, in bytes. Defaults to 16 MiB, as RabbitMQ 4.
	MaxMessageSize int64
	// MaxConnections is how many clients may be connected. More are disconnected at once. Defaults to 4096.
	MaxConnections int
	// User and Password are the credentials of the only user. Each defaults to "guest".
	User, Password string
	// VHost is the name of the only virtual host. Defaults to "/".
	VHost string
	// Heartbeat is what is proposed to clients, in whole seconds; a client may choose another value or none.
	// Defaults to 60 s, as RabbitMQ.
	Heartbeat time.Duration
	// Logger receives what an operator would want to know: connections refused or lost, alarms, repairs.
	// Defaults to discarding.
	Logger *slog.Logger
}

const (
	defaultAddr           = "127.0.0.1:5673"
	defaultMemoryLimit    = 512 << 20
	defaultMaxMessageSize = 16 << 20
	defaultMaxConnections = 4096
	defaultHeartbeat      = 60 * time.Second
	maxHeartbeat          = 65535 * time.Second
)

func (c Config) withDefaults() Config {
	setDefault(&c.Addr, defaultAddr)
	setDefault(&c.MemoryLimit, defaultMemoryLimit)
	setDefault(&c.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&c.MaxConnections, defaultMaxConnections)
	setDefault(&c.User, "guest")
	setDefault(&c.Password, "guest")
	setDefault(&c.VHost, "/")
	setDefault(&c.Heartbeat, defaultHeartbeat)
	setDefault(&c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// check reports all problems of a configuration with its defaults filled in.
func (c Config) check() error {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("devbroker: "+format, args...))
	}
	if host, _, err := net.SplitHostPort(c.Addr); err != nil {
		refuse("Addr %q: %w", c.Addr, err)
	} else if !c.AllowNonLoopback && !isLoopback(host) {
		refuse("Addr %q can be reached from other machines: use a loopback address, or set AllowNonLoopback", c.Addr)
	}
	for _, limit := range []struct {
		field string
		value int64
	}{{"MemoryLimit", c.MemoryLimit}, {"MaxMessageSize", c.MaxMessageSize}, {"MaxConnections", int64(c.MaxConnections)}} {
		if limit.value < 0 {
			refuse("%s is %d: it cannot be negative", limit.field, limit.value)
		}
	}
	if c.Heartbeat < time.Second || c.Heartbeat > maxHeartbeat || c.Heartbeat%time.Second != 0 {
		refuse("Heartbeat is %v: it must be whole seconds from 1 to 65535", c.Heartbeat)
	}
	for _, name := range []struct{ field, value string }{{"User", c.User}, {"VHost", c.VHost}} {
		if len(name.value) > 255 || strings.ContainsRune(name.value, 0) {
			refuse("%s must be at most 255 bytes without NUL", name.field)
		}
	}
	return errors.Join(problems...)
}

// isLoopback is true for loopback addresses and for the name localhost, which resolves to them.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
