package devbroker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestConfigReportsAllProblems(t *testing.T) {
	_, err := devbroker.Start(context.Background(), devbroker.Config{
		Addr: "0.0.0.0:0", MemoryLimit: -1, MaxMessageSize: -1, MaxConnections: -1, Heartbeat: 1500 * time.Millisecond,
		User: "a\x00b", VHost: strings.Repeat("v", 256),
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{"Addr", "MemoryLimit", "MaxMessageSize", "MaxConnections", "Heartbeat", "User", "VHost"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in:\n%v", field, err)
		}
	}
	for _, addr := range []string{"nonsense", "192.0.2.1:5672", ":5672", "example.com:5672"} {
		if _, err := devbroker.Start(context.Background(), devbroker.Config{Addr: addr}); err == nil || !strings.Contains(err.Error(), addr) {
			t.Errorf("Addr %q: %v", addr, err)
		}
	}
}

func TestConfigAllowNonLoopback(t *testing.T) {
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.Addr, c.AllowNonLoopback = "0.0.0.0:0", true })
	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	newSession(t, "amqp://guest:guest@127.0.0.1:"+port+"/")
}

func TestStartAddressInUse(t *testing.T) {
	b := devbroker.NewTest(t)
	_, err := devbroker.Start(context.Background(), devbroker.Config{Addr: b.Addr()})
	if err == nil || !strings.Contains(err.Error(), b.Addr()) {
		t.Fatalf("second broker: %v", err)
	}
}

func TestStartCredentialsAndVHost(t *testing.T) {
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.User, c.Password, c.VHost = "us/er", "p@ss word", "a/b" })
	s := newSession(t, b.URL()) // all of them are escaped
	_, err := s.ch.QueueDeclarePassive("nope", false, false, false, false, nil)
	if want := "no queue 'nope' in vhost 'a/b'"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	for _, url := range []string{"amqp://guest:guest@" + b.Addr() + "/a%2Fb", strings.Replace(b.URL(), "a%2Fb", "", 1)} {
		if conn, err := amqp.Dial(url); err == nil {
			_ = conn.Close()
			t.Errorf("%s was let in", url)
		}
	}
	amqplain, err := amqp.DialConfig("amqp://"+b.Addr(), amqp.Config{
		SASL: []amqp.Authentication{&amqp.AMQPlainAuth{Username: "us/er", Password: "p@ss word"}}, Vhost: "a/b",
	})
	if err != nil {
		t.Fatalf("AMQPLAIN: %v", err)
	}
	_ = amqplain.Close()
}

func TestCloseNotifiesClients(t *testing.T) {
	b, s := faulty(t)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	s.must(b.Close())
	e := await(t, "the connection to be closed", closed)
	if want := "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"; e == nil || e.Code != 320 || e.Reason != want {
		t.Errorf("closed with %v", e)
	}
	for name, err := range map[string]error{
		"Close": b.Close(), "Up": b.Up(), "Down": b.Down(), "Restart": b.Restart(t.Context()),
		"Inject": b.Inject(devbroker.Fault{Kind: devbroker.FaultDropConfirms}),
	} {
		if !errors.Is(err, devbroker.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

func TestShutdownCutsUnresponsiveClients(t *testing.T) {
	b := devbroker.NewTest(t)
	dialRaw(t, b).open() // it will not agree to anything
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("shut down with %v", err)
	}
	if n := b.Stats().Connections; n != 0 {
		t.Fatalf("%d connections are left", n)
	}
}

func TestShutdownConfirmsStored(t *testing.T) {
	dir := t.TempDir()
	b, s := start(t, dir)
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	all := s.publishN(q, 500)
	s.must(b.Close())
	confirmed := 0
	for _, d := range all {
		if await(t, "a confirm", d.Done()); d.Acked() {
			confirmed++
		}
	}
	_, s = start(t, dir)
	if n := s.ready(q); n < confirmed {
		t.Fatalf("%d confirmed, %d there", confirmed, n)
	}
}

func TestInspection(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(amqp.Table{"x-queue-type": "quorum", "x-max-length": int32(10)})
	s.send(q, "one", "two", "three")
	s.next(s.consume(q, 1))
	want := devbroker.QueueInfo{
		VHost: "/",
		Name:  q, Type: "quorum", Durable: true, Arguments: map[string]any{"x-queue-type": "quorum", "x-max-length": int32(10)},
		Ready: 2, Unacked: 1, Bytes: 8, Consumers: 1,
	}
	info, ok := b.Queue(q)
	if have := fmt.Sprintf("%+v", info); !ok || have != fmt.Sprintf("%+v", want) {
		t.Errorf("queue\n%s, want\n%+v", have, want)
	}
	if all := b.Queues(); len(all) != 1 || all[0].Name != q {
		t.Errorf("queues %+v", all)
	}
	if _, ok := b.Queue("nope"); ok {
		t.Error("there is a queue called nope")
	}
	stats := b.Stats()
	if stats.Connections != 1 || stats.Channels != 2 || stats.Consumers != 1 || stats.Queues != 1 || stats.Exchanges != 7 ||
		stats.Ready != 2 || stats.Unacked != 1 || stats.MemoryBytes == 0 || stats.JournalBytes != 0 || stats.Blocked {
		t.Errorf("stats %+v", stats)
	}
}

// lockedBuffer is a buffer that the broker writes to while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogForOperator(t *testing.T) {
	log := &lockedBuffer{}
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	s := newSession(t, b.URL())
	_, err := s.ch.QueueDeclarePassive("missing", false, false, false, false, nil)
	if code(err) != amqp.NotFound {
		t.Fatal(err)
	}
	if _, err := amqp.Dial(strings.Replace(b.URL(), "guest:guest", "guest:secret", 1)); err == nil {
		t.Fatal("let in")
	}
	for _, want := range []string{"listening", b.Addr(), "no queue 'missing'", "login refused", "user=guest"} {
		eventually(t, want+" in the log", func() bool { return strings.Contains(log.String(), want) })
	}
	if strings.Contains(log.String(), "secret") {
		t.Error("the log holds a password")
	}
}
