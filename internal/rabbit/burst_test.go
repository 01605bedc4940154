package rabbit

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// network notes what is written to it.
type network struct {
	net.Conn
	writes []string
	err    error
}

func (n *network) Write(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}
	n.writes = append(n.writes, string(p))
	return len(p), nil
}
func (n *network) SetDeadline(time.Time) error      { return nil }
func (n *network) SetReadDeadline(time.Time) error  { return nil }
func (n *network) SetWriteDeadline(time.Time) error { return nil }

func newBurstConn() (*Conn, *network) {
	n := &network{}
	c := &Conn{raw: &guardedConn{Conn: n, timeout: time.Second}}
	c.raw.opened(0)
	return c, n
}

func (n *network) want(t *testing.T, what string, writes ...string) {
	t.Helper()
	if strings.Join(n.writes, "|") != strings.Join(writes, "|") {
		t.Errorf("%s: written %q, want %q", what, n.writes, writes)
	}
	n.writes = nil
}

func write(t *testing.T, c *Conn, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if n, err := c.raw.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("write %q: %d, %v", text, n, err)
		}
	}
}

func TestBurst(t *testing.T) {
	c, n := newBurstConn()
	write(t, c, "a", "b")
	n.want(t, "without a burst", "a", "b")

	one := c.beginBurst()
	two := c.beginBurst()
	write(t, c, "a", "b")
	n.want(t, "in bursts")
	must(t, two())
	n.want(t, "the end of one sends what all have written", "ab")
	write(t, c, "c")
	n.want(t, "the other goes on")
	must(t, one())
	n.want(t, "both have ended", "c")
	write(t, c, "d")
	n.want(t, "after bursts", "d")

	end := c.beginBurst()
	half := strings.Repeat("x", burstBytes/2)
	write(t, c, half, half, "rest")
	n.want(t, "more than is collected", half+half)
	must(t, end())
	n.want(t, "its end", "rest")
}

// The closing handshake is not held back by a publisher in the middle of a burst.
func TestBurstAtClose(t *testing.T) {
	c, n := newBurstConn()
	end := c.beginBurst()
	write(t, c, "message")
	if err := c.raw.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	write(t, c, "close")
	n.want(t, "closing", "messageclose")
	must(t, end())
}

// Nothing is sent behind a write that has failed, maybe half way.
func TestBurstFails(t *testing.T) {
	c, n := newBurstConn()
	end := c.beginBurst()
	write(t, c, "message")
	n.err = errors.New("cut")
	if err := end(); !errors.Is(err, n.err) {
		t.Errorf("end: %v", err)
	}
	cut := n.err
	n.err = nil
	if _, err := c.raw.Write([]byte("more")); !errors.Is(err, cut) {
		t.Errorf("write: %v", err)
	}
	if err := c.beginBurst()(); !errors.Is(err, cut) {
		t.Errorf("another burst: %v", err)
	}
	n.want(t, "after a failure")
}

// Messages arrive while somebody else is in the middle of a burst, in their
// order, whatever their size.
func TestPublishWithinBurst(t *testing.T) {
	conn, queue := dial(t, testenv.RabbitMQ(t)), testenv.UniqueName(t, "q")
	must(t, conn.EnsureQueue(t.Context(), Declare, Queue{Name: queue}))
	ours, err := conn.Confirmer(t.Context(), ConfirmerConfig{Window: 10, Stall: time.Minute, BlockLimit: time.Minute})
	must(t, err)
	msgs := make([]Publishing, 100)
	for i := range msgs {
		msgs[i] = Publishing{Key: queue, Publishing: amqp.Publishing{Body: bytes.Repeat([]byte{byte(i)}, 1+i*i*i%burstBytes)}}
	}
	end := conn.beginBurst()
	for i, verdict := range ours.Publish(t.Context(), msgs) {
		if verdict != nil {
			t.Errorf("message %d: %v", i, verdict)
		}
	}
	must(t, end())
	if conn.raw.burst.open != 0 {
		t.Errorf("%d bursts are open", conn.raw.burst.open)
	}
	ch, err := conn.Channel()
	must(t, err)
	for i, m := range msgs {
		d, found, err := ch.Get(queue, true)
		if err != nil || !found || !bytes.Equal(d.Body, m.Body) {
			t.Fatalf("message %d: found %v, %d bytes, error %v", i, found, len(d.Body), err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
