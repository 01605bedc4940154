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

// F28: in a batch of good messages is one with a header that no AMQP frame of
// this broker can hold; Enqueue would have refused it, so it was written in
// plain SQL. The publisher finds it before the broker does.
func TestF28OverlongHeaderInABatch(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	testPoison(s)
}

// F28, second variant: the publisher does not find it, because it believes
// that the broker takes larger frames. The broker closes the connection under
// the whole batch.
func TestF28BrokerClosesTheConnectionUnderABatch(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	boaster := newBoaster(t, s.amqpURL)
	testPoison(s, func(c *stdlib.OrdersConfig) { c.AMQPURL = boaster.url })
	if n := boaster.count(); n < 2 {
		t.Errorf("%d connections: the broker has closed none, so nothing was tested", n)
	}
}

// testPoison puts a culprit amid good messages, which all go out; it alone is
// dead, and goes out as well once it is mended and retried.
func testPoison(s *system, change ...func(*stdlib.OrdersConfig)) {
	s.t.Helper()
	s.startNotifications()
	tap := s.startTap()
	orders := s.place(100)
	culprit := orders[50].EventID
	s.exec(s.ordersDB, `UPDATE outbox_messages SET headers = jsonb_build_object('long', repeat('x', 200 * 1024)) WHERE id = $1`, culprit)

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
			s.t.Errorf("a neighbour was blamed: %+v", a)
		}
	}
	for _, p := range good {
		if s.record(p.EventID).Status != outbox.Published {
			s.t.Errorf("the neighbour %s is %s", p.EventID, s.record(p.EventID).Status)
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

// boaster stands before a broker and has clients believe that it takes frames
// of a megabyte.
type boaster struct {
	url, target string
	listener    net.Listener
	links       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // both sides of each connection
}

func newBoaster(t *testing.T, brokerURL string) *boaster {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &boaster{target: u.Host, listener: listener}
	u.Host = listener.Addr().String()
	b.url = u.String()
	b.links.Go(b.accept)
	t.Cleanup(func() {
		listener.Close()
		b.mu.Lock()
		for _, conn := range b.conns {
			conn.Close()
		}
		b.mu.Unlock()
		b.links.Wait()
	})
	return b
}

// count is how many connections there have been.
func (b *boaster) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns) / 2
}

func (b *boaster) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", b.target)
		if err != nil {
			client.Close()
			continue
		}
		b.mu.Lock()
		b.conns = append(b.conns, client, broker)
		b.mu.Unlock()
		agreed := make(chan uint32, 1)
		b.links.Go(func() {
			defer client.Close()
			relayFrames(client, bufio.NewReader(broker), methodTune, func(frameMax uint32) uint32 {
				agreed <- frameMax
				return 1 << 20
			})
		})
		b.links.Go(func() {
			defer broker.Close()
			in := bufio.NewReader(client)
			if _, err := io.CopyN(broker, in, 8); err == nil { // the protocol header
				relayFrames(broker, in, methodTuneOK, func(uint32) uint32 { return <-agreed })
			}
		})
	}
}

// The methods of class connection that agree on a frame size: each holds
// channel-max (16 bits), frame-max (32) and heartbeat (16).
const (
	methodTune   = 30
	methodTuneOK = 31
)

// relayFrames copies frames up to and including the one of this method, whose
// frame-max it changes, and everything after it as it is.
func relayFrames(out io.Writer, in *bufio.Reader, method uint16, change func(frameMax uint32) uint32) {
	const head, class = 7, 10
	for tuned := false; !tuned; {
		start, err := in.Peek(head)
		if err != nil {
			return
		}
		frame := make([]byte, head+binary.BigEndian.Uint32(start[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		if frame[0] == 1 && binary.BigEndian.Uint16(frame[head:]) == class && binary.BigEndian.Uint16(frame[head+2:]) == method {
			frameMax := frame[head+6 : head+10]
			binary.BigEndian.PutUint32(frameMax, change(binary.BigEndian.Uint32(frameMax)))
			tuned = true
		}
		if _, err := out.Write(frame); err != nil {
			return
		}
	}
	_, _ = io.Copy(out, in) // ends with either side
}
