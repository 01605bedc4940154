package faults_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F28: a batch of good messages contains one with a header that does not fit
// into an AMQP frame of this broker; Enqueue would have refused it, so it was
// written in plain SQL. The publisher finds it before the broker does.
func TestF28OverlongHeader(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	testPoison(s, 200<<10)
}

// F28, second variant: the publisher does not find it, because the broker
// accepts smaller frames than it has negotiated. The broker closes the
// connection under the whole batch.
func TestF28BrokerClosesConnection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	narrow := newNarrow(t, s.amqpURL)
	testPoison(s, 12<<10, func(c *stdlib.OrdersConfig) { c.AMQPURL = narrow.url })
	if text := s.attempts()[0].Error; !strings.Contains(text, "501") {
		t.Errorf("the culprit is dead because of %q, want the broker's 501", text)
	}
}

// testPoison puts a culprit with a header of that size among good messages,
// which are all published; only the culprit is dead, and it is published as
// well once it is fixed and retried.
func testPoison(s *system, size int, change ...func(*stdlib.OrdersConfig)) {
	s.t.Helper()
	s.startNotifications()
	tap := s.startTap()
	orders := s.place(100)
	culprit := orders[50].EventID
	s.exec(s.ordersDB, `UPDATE outbox_messages SET headers = jsonb_build_object('long', repeat('x', $2)) WHERE id = $1`, culprit, size)

	s.startOrders(change...)
	good := slices.Concat(orders[:50], orders[51:])
	s.awaitCount(len(good), s.notificationsDB, `notifications`)
	testenv.Eventually(s.t, patience, "the culprit to be dead", func() bool { return s.record(culprit).Status == outbox.Dead })
	r := s.record(culprit)
	if r.Attempts != 1 || !strings.HasPrefix(r.LastError, outbox.ErrPermanent.Error()) {
		s.t.Errorf("the culprit: %d attempts, %s", r.Attempts, r.LastError)
	}
	for _, a := range s.attempts() {
		if a.EventID != culprit {
			s.t.Errorf("another message counted an attempt: %+v", a)
		}
	}
	for _, p := range good {
		if s.record(p.EventID).Status != outbox.Published {
			s.t.Errorf("the message %s is %s", p.EventID, s.record(p.EventID).Status)
		}
	}
	if len(tap.copies(culprit)) != 0 {
		s.t.Error("the culprit went through the exchange")
	}
	s.requireClean(exceptions{dead: []string{culprit}})

	s.startNotifications()
	s.startOrders(change...)
	s.exec(s.ordersDB, `UPDATE outbox_messages SET headers = '{}' WHERE id = $1`, culprit)
	if n, err := s.outbox.Retry(s.t.Context(), r.ID); err != nil || n != 1 {
		s.t.Fatalf("retry: %d, %v", n, err)
	}
	s.awaitCount(len(orders), s.notificationsDB, `notifications`)
	s.requireClean(exceptions{})
}

// narrow is a proxy that makes a broker believe that clients negotiated frames
// of eight kilobytes, which the clients do not know.
type narrow struct {
	url, target string
	listener    net.Listener
	links       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // both sides of each connection
}

const narrowFrame = 8 << 10

func newNarrow(t *testing.T, brokerURL string) *narrow {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &narrow{target: u.Host, listener: listener}
	u.Host = listener.Addr().String()
	n.url = u.String()
	n.links.Go(n.accept)
	t.Cleanup(func() {
		listener.Close()
		n.mu.Lock()
		for _, conn := range n.conns {
			conn.Close()
		}
		n.mu.Unlock()
		n.links.Wait()
	})
	return n
}

func (n *narrow) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", n.target)
		if err != nil {
			client.Close()
			continue
		}
		n.mu.Lock()
		n.conns = append(n.conns, client, broker)
		n.mu.Unlock()
		n.links.Go(func() {
			defer client.Close()
			_, _ = io.Copy(client, broker) // ends with either side
		})
		n.links.Go(func() {
			defer broker.Close()
			fromClient(broker, bufio.NewReader(client))
		})
	}
}

// fromClient forwards the client's data, frame by frame up to and including the
// method connection.tune-ok (10, 31), which holds channel-max (16 bits),
// frame-max (32) and heartbeat (16).
func fromClient(broker io.Writer, in *bufio.Reader) {
	const protocolHeader, head = 8, 7
	if _, err := io.CopyN(broker, in, protocolHeader); err != nil {
		return
	}
	for tuned := false; !tuned; {
		start, err := in.Peek(head)
		if err != nil {
			return
		}
		frame := make([]byte, head+binary.BigEndian.Uint32(start[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		if tuned = frame[0] == 1 && binary.BigEndian.Uint32(frame[head:]) == 10<<16|31; tuned {
			binary.BigEndian.PutUint32(frame[head+6:], narrowFrame)
		}
		if _, err := broker.Write(frame); err != nil {
			return
		}
	}
	_, _ = io.Copy(broker, in) // ends with either side
}
