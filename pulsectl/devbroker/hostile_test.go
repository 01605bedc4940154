package devbroker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

func publishTo(queue string) []byte {
	return wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: queue})
}

func contentHeader(size uint64, props string) []byte {
	payload := append(binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, size), props...)
	return frameOf(2, 1, payload)
}

func frameOf(kind byte, channel uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xCE)
}

// hostility is invalid input, and the code with which the broker closes the connection, 0 if it sends none.
type hostility struct {
	name string
	send [][]byte
	code uint16
}

func (h hostility) check(r *raw) {
	r.what = h.name
	r.write(bytes.Join(h.send, nil))
	if code := r.ended(); code != h.code {
		r.Errorf("%s: ended with %d, want %d", h.name, code, h.code)
	}
}

// TestHostileInput sends invalid input, each to a connection of its own, and checks that the broker still
// serves a well-behaved one.
func TestHostileInput(t *testing.T) {
	b := devbroker.NewTest(t)
	var all sync.WaitGroup
	method := func(channel uint16, m wire.Method) []byte { return wire.AppendMethod(nil, channel, m) }
	for _, c := range []hostility{
		{"unknown frame type", [][]byte{frameOf(9, 1, nil)}, 501},
		{"frame without end", [][]byte{{1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 10, 0}}, 501},
		{"frame beyond the limit", [][]byte{{3, 0, 1, 0, 2, 0, 1}}, 501},
		{"frame of four gigabytes", [][]byte{{3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF}}, 501},
		{"empty method frame", [][]byte{frameOf(1, 1, nil)}, 501},
		{"unknown method", [][]byte{frameOf(1, 1, []byte{0, 30, 0, 10})}, 540},
		{"method cut short", [][]byte{frameOf(1, 1, []byte{0, 50, 0, 10, 0, 0, 200, 'q'})}, 501},
		{"table longer than its frame", [][]byte{frameOf(1, 1, []byte{0, 50, 0, 10, 0, 0, 1, 'q', 0, 0xFF, 0xFF, 0xFF, 0xFF})}, 501},
		{"a server's method", [][]byte{method(1, &wire.BasicDeliver{})}, 503},
		{"channel method on channel 0", [][]byte{method(0, &wire.QueueDeclare{Queue: "q"})}, 504},
		{"connection opened again", [][]byte{method(0, &wire.ConnectionOpen{VirtualHost: "/"})}, 504},
		{"channel opened twice", [][]byte{method(1, &wire.ChannelOpen{})}, 504},
		{"channel never opened", [][]byte{method(2, &wire.QueueDeclare{Queue: "q"})}, 504},
		{"content on a channel never opened", [][]byte{frameOf(3, 2, []byte("body"))}, 505},
		{"header without publish", [][]byte{contentHeader(1, "\x00\x00")}, 505},
		{"body without publish", [][]byte{frameOf(3, 1, []byte("body"))}, 505},
		{"body without header", [][]byte{publishTo("q"), frameOf(3, 1, []byte("body"))}, 505},
		{"two headers", [][]byte{publishTo("q"), contentHeader(9, "\x00\x00"), contentHeader(9, "\x00\x00")}, 505},
		{"method instead of header", [][]byte{publishTo("q"), publishTo("q")}, 505},
		{"method instead of body", [][]byte{publishTo("q"), contentHeader(9, "\x00\x00"), method(1, &wire.ChannelClose{})}, 505},
		{"body longer than announced", [][]byte{publishTo("q"), contentHeader(2, "\x00\x00"), frameOf(3, 1, []byte("body"))}, 501},
		{"header of another class", [][]byte{publishTo("q"), frameOf(2, 1, make([]byte, 14))}, 505},
		{"header cut short", [][]byte{publishTo("q"), frameOf(2, 1, []byte{0, 60})}, 501},
		{"unknown property flags", [][]byte{publishTo("q"), contentHeader(0, "\x00\x01")}, 502},
		{"headers cut short", [][]byte{publishTo("q"), contentHeader(0, "\x20\x00\x00\x00\x00\x09\x01a")}, 502},
		{"headers with an unknown type", [][]byte{publishTo("q"), contentHeader(0, "\x20\x00\x00\x00\x00\x03\x01aZ")}, 502},
		{"HTTP", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, 501},
	} {
		all.Go(func() {
			r := dialRaw(t, b)
			r.open()
			c.check(r)
		})
	}
	all.Wait()
	s := newSession(t, b.URL())
	s.send(s.queue(nil), "still here")
	eventually(t, "the others to be gone", func() bool { return b.Stats().Connections == 1 })
}

func TestHostileHandshakes(t *testing.T) {
	b := devbroker.NewTest(t)
	var all sync.WaitGroup
	step := func(m wire.Method) []byte { return wire.AppendMethod(nil, 0, m) }
	wrong := startOk()
	wrong.Response = "\x00guest\x00wrong"
	mechanism := startOk()
	mechanism.Mechanism = "MAGIC"
	for _, c := range []hostility{
		{"wrong password", [][]byte{step(wrong)}, 403},
		{"unknown mechanism", [][]byte{step(mechanism)}, 0},
		{"out of order", [][]byte{step(tuneOk())}, 0},
		{"content", [][]byte{contentHeader(0, "\x00\x00")}, 0},
		{"frame too large before tuning", [][]byte{{1, 0, 0, 0, 1, 0, 0}}, 0},
		{"tiny frames", [][]byte{step(startOk()), step(&wire.ConnectionTuneOk{FrameMax: 8})}, 0},
		{"huge frames", [][]byte{step(startOk()), step(&wire.ConnectionTuneOk{FrameMax: 1 << 30})}, 0},
		{"too many channels", [][]byte{step(startOk()), step(&wire.ConnectionTuneOk{ChannelMax: 65535})}, 0},
		{"unknown virtual host", [][]byte{step(startOk()), step(tuneOk()), step(&wire.ConnectionOpen{VirtualHost: "nope"})}, 530},
	} {
		all.Go(func() {
			r := dialRaw(t, b)
			r.write([]byte(protocolHeader))
			c.check(r)
		})
	}
	all.Wait()
	r := dialRaw(t, b)
	r.write([]byte("HTTP/1.1"))
	answer := make([]byte, 8)
	if _, err := r.nc.Read(answer); err != nil || string(answer) != protocolHeader || !r.silent() {
		t.Errorf("another protocol: answered %q, %v", answer, err)
	}
	r = dialRaw(t, b)
	r.write([]byte(protocolHeader))
	untold := *wrong
	untold.ClientProperties = wire.Table{}
	want[*wire.ConnectionStart](r)
	r.send(0, &untold)
	if !r.silent() {
		t.Error("a client that does not know connection.close at login was told")
	}
}

// TestRandomInput mixes valid frames and random bytes. Nothing may panic, and no goroutine or connection may be left.
func TestRandomInput(t *testing.T) {
	b := devbroker.NewTest(t)
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := [][]byte{
		wire.AppendMethod(nil, 1, &wire.QueueDeclare{Queue: "q", Arguments: wire.Table{"x-max-length": int32(2)}}),
		wire.AppendMethod(nil, 1, &wire.BasicConsume{Queue: "q"}), wire.AppendMethod(nil, 1, &wire.BasicAck{Multiple: true}),
		wire.AppendMethod(nil, 1, &wire.BasicNack{Multiple: true, Requeue: true}),
		wire.AppendMethod(nil, 1, &wire.QueueDelete{Queue: "q"}), wire.AppendMethod(nil, 1, &wire.ConfirmSelect{}),
		wire.AppendMethod(nil, 1, &wire.ExchangeDeclare{Exchange: "x", Type: "topic"}),
		wire.AppendMethod(nil, 1, &wire.QueueBind{Queue: "q", Exchange: "x", RoutingKey: "#.#.*"}),
		wire.AppendMethod(nil, 1, &wire.ChannelClose{}), wire.AppendMethod(nil, 1, &wire.ChannelCloseOk{}),
		wire.AppendMethod(nil, 1, &wire.ChannelOpen{}), wire.AppendMethod(nil, 1, &wire.BasicRecover{Requeue: true}),
		bytes.Join([][]byte{publishTo("q"), contentHeader(4, "\x10\x00\x02"), frameOf(3, 1, []byte("body"))}, nil),
	}
	for range 200 {
		r := dialRaw(t, b)
		r.open()
		go drain(r)
		for range 20 {
			piece := bytes.Clone(pieces[rng.IntN(len(pieces))])
			if rng.IntN(8) == 0 {
				piece[rng.IntN(len(piece))] ^= byte(1 << rng.IntN(8))
			}
			r.write(piece)
		}
		_ = r.nc.Close()
	}
	eventually(t, "all connections to be gone", func() bool { return b.Stats().Connections == 0 })
	for _, q := range b.Queues() {
		if q.Unacked != 0 || q.Consumers != 0 {
			t.Errorf("left over: %+v", q)
		}
	}
}

func drain(r *raw) {
	for buf := make([]byte, 4096); ; {
		if _, err := r.nc.Read(buf); err != nil {
			return
		}
	}
}

func TestConnectionsMany(t *testing.T) {
	const limit, clients = 1500, 2000
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.MaxConnections = limit })
	before := runtime.NumGoroutine()
	var all []*raw
	for range clients {
		all = append(all, dialRaw(t, b))
	}
	eventually(t, "as many as allowed", func() bool { return b.Stats().Connections == limit })
	refused := 0
	var waiting sync.WaitGroup
	var mu sync.Mutex
	for _, r := range all[limit:] {
		waiting.Go(func() {
			if r.silent() {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	waiting.Wait()
	if refused != clients-limit {
		t.Errorf("%d were refused, want %d", refused, clients-limit)
	}
	for _, r := range all {
		_ = r.nc.Close()
	}
	eventually(t, "all to be gone", func() bool { return b.Stats().Connections == 0 })
	eventually(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	newSession(t, b.URL())
}

func TestPublishAboveMaximum(t *testing.T) {
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.MaxMessageSize = 1000 })
	s := newSession(t, b.URL())
	q := s.queue(nil)
	closed := s.ch.NotifyClose(make(chan *amqp.Error, 1))
	s.send(q, strings.Repeat("x", 1000), strings.Repeat("x", 1001))
	e := await(t, "the channel to close", closed)
	if want := "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"; e.Code != 406 || e.Reason != want {
		t.Fatalf("closed with %v", e)
	}
	s.ch = s.channel()
	if n := s.ready(q); n != 1 {
		t.Fatalf("%d messages", n)
	}
}

func TestChannelsMany(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	q := s.queue(nil)
	s.send(q, numbered(500)...)
	for range 500 {
		ch := s.channel()
		s.must(ch.Qos(1, 0, false))
		_, err := ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
	}
	eventually(t, "every message to be delivered", func() bool {
		info, _ := b.Queue(q)
		return info.Unacked == 500 && info.Consumers == 500
	})
	s.must(s.conn.Close())
	if stats := b.Stats(); stats.Channels != 0 || stats.Unacked != 0 || stats.Ready != 500 || stats.Consumers != 0 {
		t.Fatalf("left %s", fmt.Sprintf("%+v", stats))
	}
}
