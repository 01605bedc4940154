package devbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Config configures a [Broker]. The zero value is a broker on 127.0.0.1:5673 that keeps everything in memory.
type Config struct {
	// Addr is the host and port to listen on. Port 0 picks a free one, which
	// [Broker.Addr] names. With 127.0.0.1 or localhost as host the broker also
	// listens on the same port of ::1, if possible: programs that connect to
	// localhost try either. Defaults to "127.0.0.1:5673".
	Addr string
	// TLSAddr is the address for TLS clients, with the same rules;
	// [Broker.TLSURL] returns its URL. TLS is its configuration: the
	// certificate, and ClientAuth if clients must present one. Defaults to
	// none.
	TLSAddr string
	TLS     *tls.Config
	// ManagementAddr is the address of a part of RabbitMQ's management API over
	// HTTP, with the same rules; [Broker.ManagementURL] returns its URL. See
	// [Broker.Management]. Defaults to none.
	ManagementAddr string
	// AllowNonLoopback permits addresses that other machines can reach. The
	// protocol is not encrypted and the password is public, so they are refused
	// without it.
	AllowNonLoopback bool
	// DataDir is the directory for durable queues and persistent messages. It
	// is created if missing, and only one broker can use it at a time. Defaults
	// to none: everything is in memory only.
	DataDir string
	// MemoryLimit is how many bytes of messages and definitions may be held before publishers are blocked; at twice as
	// many (plus one message), which only very many connections at once can reach, connections are closed with 506.
	// Defaults to 512 MiB.
	MemoryLimit int64
	// DiskFreeLimit is how many bytes must be free in the file system of
	// DataDir; with fewer publishers are blocked. Defaults to 50 MiB, as
	// RabbitMQ, or a tenth of the file system if that is less. Negative:
	// publishers are blocked only when a write fails for lack of space.
	DiskFreeLimit int64
	// MaxMessageSize is the largest body accepted, in bytes. Defaults to 128
	// MiB, as RabbitMQ 3.10; for RabbitMQ 4 it is 16 MiB. The maximum is 512
	// MiB.
	MaxMessageSize int64
	// MaxConnections is how many clients may be connected. More are disconnected at once. Defaults to 4096.
	MaxConnections int
	// User and Password are the credentials of the first user, who is an administrator and may do everything in VHost.
	// Each defaults to "guest". See [Broker.SetUser] for more.
	User, Password string
	// VHost is the name of the virtual host that always exists. Defaults to
	// "/". See [Broker.AddVHost] for more.
	VHost string
	// Heartbeat is the heartbeat proposed to clients, in whole seconds; a
	// client may choose another value or none. Defaults to 60 s, as RabbitMQ.
	Heartbeat time.Duration
	// Logger receives events for operators: refused and lost connections,
	// alarms, repairs. Defaults to discarding them.
	Logger *slog.Logger
}

const (
	defaultAddr           = "127.0.0.1:5673"
	defaultDiskFreeLimit  = 50 << 20
	defaultMemoryLimit    = 512 << 20
	defaultMaxMessageSize = 128 << 20
	mostMessageSize       = 512 << 20
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
	for _, a := range []struct{ field, value string }{{"Addr", c.Addr}, {"TLSAddr", c.TLSAddr}, {"ManagementAddr", c.ManagementAddr}} {
		if a.value == "" {
			continue
		}
		if host, _, err := net.SplitHostPort(a.value); err != nil {
			refuse("%s %q: %w", a.field, a.value, err)
		} else if !c.AllowNonLoopback && !isLoopback(host) {
			refuse("%s %q can be reached from other machines: use a loopback address, or set AllowNonLoopback", a.field, a.value)
		}
	}
	if c.TLSAddr != "" && c.TLS == nil {
		refuse("TLS is missing: TLSAddr is %q", c.TLSAddr)
	}
	if c.MaxMessageSize > mostMessageSize {
		refuse("MaxMessageSize is %d: the most is %d", c.MaxMessageSize, mostMessageSize)
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
