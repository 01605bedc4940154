package devbroker_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// raw is a client that can send any bytes.
type raw struct {
	*testing.T
	nc        net.Conn
	in        *wire.Reader
	vhost     string
	header    string
	heartbeat uint16
	what      string // what it is called in failures
}

func dialRaw(t *testing.T, b *devbroker.Broker) *raw { return dialRawTo(t, b.Addr()) }

// raw returns a client of the session's broker that can send any bytes.
func (s *session) raw() *raw {
	s.Helper()
	u, err := url.Parse(s.url)
	s.must(err)
	r := dialRawTo(s.T, u.Host)
	if vhost := strings.TrimPrefix(u.Path, "/"); vhost != "" {
		r.vhost = vhost
	}
	return r
}

func dialRawTo(t *testing.T, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &raw{T: t, nc: nc, in: wire.NewReader(nc), vhost: "/", header: protocolHeader}
}

// write sends octets. It ignores that the broker has closed the connection: the test reads that.
func (r *raw) write(b []byte) { _, _ = r.nc.Write(b) }

func (r *raw) send(channel uint16, methods ...wire.Method) {
	var b []byte
	for _, m := range methods {
		b = wire.AppendMethod(b, channel, m)
	}
	r.write(b)
}

// receive returns the next method, passing over heartbeats.
func (r *raw) receive() (wire.Method, error) {
	for {
		f, err := r.in.Next()
		if err != nil {
			return nil, err
		}
		if f.Type == wire.FrameMethod {
			return wire.ParseMethod(f.Payload)
		}
	}
}

// want receives a method of the type of M.
func want[M wire.Method](r *raw) M {
	r.Helper()
	m, err := r.receive()
	if err != nil {
		r.Fatal(err)
	}
	wanted, ok := m.(M)
	if !ok {
		r.Fatalf("received %s %+v, want %s", wire.Name(m.ID()), m, wire.Name(wanted.ID()))
	}
	return wanted
}

const protocolHeader = "AMQP\x00\x00\x09\x01"

func startOk() *wire.ConnectionStartOk {
	return &wire.ConnectionStartOk{
		ClientProperties: wire.Table{"capabilities": wire.Table{
			"connection.blocked": true, "consumer_cancel_notify": true, "authentication_failure_close": true,
		}},
		Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US",
	}
}

func tuneOk() *wire.ConnectionTuneOk {
	return &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}
}

// open goes through the handshake and opens channel 1.
func (r *raw) open() {
	r.Helper()
	r.write([]byte(r.header))
	want[*wire.ConnectionStart](r)
	r.send(0, startOk())
	want[*wire.ConnectionTune](r)
	r.in.SetFrameMax(131072)
	tune := tuneOk()
	tune.Heartbeat = r.heartbeat
	r.send(0, tune, &wire.ConnectionOpen{VirtualHost: r.vhost})
	want[*wire.ConnectionOpenOk](r)
	r.send(1, &wire.ChannelOpen{})
	want[*wire.ChannelOpenOk](r)
}

// ended reads until the broker ends the connection, and returns the code that it gave, 0 if none. It fails the test if
// the broker does not.
func (r *raw) ended() (code uint16) {
	r.Helper()
	for {
		m, err := r.receive()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			r.Fatalf("%s: the broker keeps the connection", r.what)
		case errors.Is(err, wire.ErrMalformed):
			r.Fatal(err)
		case err != nil: // end of stream, or a reset because the broker did not read everything
			return code
		}
		if closing, ok := m.(*wire.ConnectionClose); ok {
			code = closing.ReplyCode
			r.send(0, &wire.ConnectionCloseOk{})
		}
	}
}

// silent reports whether the connection was closed without a method.
func (r *raw) silent() bool {
	_, err := r.nc.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}
