package devbroker_test

import (
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// still fails the test if the broker ends TCP within a moment.
func (r *raw) still(when string) {
	r.Helper()
	_ = r.nc.SetReadDeadline(time.Now().Add(5 * quietly))
	if m, err := r.receive(); err == nil {
		r.Fatalf("%s: received %s", when, wire.Name(m.ID()))
	} else if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		r.Fatalf("%s: the broker ended TCP: %v", when, err)
	}
	_ = r.nc.SetReadDeadline(time.Now().Add(patience))
}

// TestCloseLeavesTCPToClient: some clients fail, or wait forever, if TCP ends together with the answer to
// their connection.close.
func TestCloseLeavesTCPToClient(t *testing.T) {
	onBrokers(t, func(s *session) {
		r := s.raw()
		r.open()
		r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
		want[*wire.ConnectionCloseOk](r)
		r.still("after close-ok")
		r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"}) // until it is answered
		want[*wire.ConnectionCloseOk](r)
		r.still("after close-ok again")

		r = s.raw() // a heartbeat bounds the wait
		r.heartbeat = 1
		r.open()
		r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
		want[*wire.ConnectionCloseOk](r)
		r.ended()
	})
}

// TestCloseDeletesExclusiveQueues: what a connection owned is gone when its end is confirmed, not when TCP ends.
func TestCloseDeletesExclusiveQueues(t *testing.T) {
	onBrokers(t, func(s *session) {
		name := s.name()
		r := s.raw()
		r.open()
		r.send(1, &wire.QueueDeclare{Queue: name, Exclusive: true})
		want[*wire.QueueDeclareOk](r)
		r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
		want[*wire.ConnectionCloseOk](r)
		if _, err := s.ch.QueueDeclarePassive(name, false, false, false, false, nil); code(err) != amqp.NotFound {
			t.Errorf("looking for the queue: %v", err)
		}
	})
}

// TestCloseByServer waits for the client to agree, and then ends TCP at once.
func TestCloseByServer(t *testing.T) {
	onBrokers(t, func(s *session) {
		r := s.raw()
		r.open()
		r.send(1, &wire.ChannelOpen{})
		if e := want[*wire.ConnectionClose](r); e.ReplyCode != amqp.ChannelError || e.ClassID != 20 || e.MethodID != 10 {
			t.Errorf("closed with %+v", e)
		}
		r.still("before close-ok")
		r.send(0, &wire.ConnectionCloseOk{})
		if m, err := r.receive(); err == nil {
			t.Errorf("received %s", wire.Name(m.ID()))
		}
	})
}

// TestConnectionHalfClosed: a connection that is closed for writing still reads what was sent to it.
func TestConnectionHalfClosed(t *testing.T) {
	r := dialRaw(t, devbroker.NewTest(t))
	r.open()
	r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
	if err := r.nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	want[*wire.ConnectionCloseOk](r)
}

// TestCloseWaitsOnce: clients that were answered and keep TCP open do not delay the broker.
func TestCloseWaitsOnce(t *testing.T) {
	b := devbroker.NewTest(t)
	var all []*raw
	for range 3 {
		r := dialRaw(t, b)
		r.open()
		r.send(0, &wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
		want[*wire.ConnectionCloseOk](r)
		all = append(all, r)
	}
	wrong := startOk()
	wrong.Response, wrong.ClientProperties = "\x00guest\x00wrong", wire.Table{}
	r := dialRaw(t, b)
	r.write([]byte(protocolHeader))
	want[*wire.ConnectionStart](r)
	r.send(0, wrong)
	if stats := b.Stats(); stats.Connections > 1 {
		t.Errorf("%d connections", stats.Connections)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range append(all, r) {
		if m, err := r.receive(); err == nil {
			t.Errorf("received %s", wire.Name(m.ID()))
		}
	}
}

func TestHandshakeOlderHeader(t *testing.T) {
	onBrokers(t, func(s *session) {
		r := s.raw()
		r.header = "AMQP\x01\x01\x00\x09"
		r.open()
		r.send(0, &wire.ConnectionUpdateSecret{NewSecret: "x", Reason: "it is time"})
		want[*wire.ConnectionUpdateSecretOk](r)
	})
}

// TestHandshakeErrors compares what clients are told, and that TCP stays for a moment.
func TestHandshakeErrors(t *testing.T) {
	onBrokers(t, func(s *session) {
		wrong := startOk()
		wrong.Response = "\x00guest\x00wrong"
		r := s.raw()
		r.write([]byte(protocolHeader))
		want[*wire.ConnectionStart](r)
		r.send(0, wrong)
		if e := want[*wire.ConnectionClose](r); e.ReplyCode != 403 ||
			e.ReplyText != "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile." {
			t.Errorf("wrong password: %+v", e)
		}
		r.still("before close-ok")

		wrong.ClientProperties = wire.Table{}
		r = s.raw()
		r.write([]byte(protocolHeader))
		want[*wire.ConnectionStart](r)
		r.send(0, wrong)
		r.still("a client that cannot be told")

		r = s.raw()
		r.write([]byte(protocolHeader))
		want[*wire.ConnectionStart](r)
		r.send(0, startOk())
		want[*wire.ConnectionTune](r)
		r.send(0, tuneOk(), &wire.ConnectionOpen{VirtualHost: "nope"})
		if e := want[*wire.ConnectionClose](r); e.ReplyCode != 530 || e.ReplyText != "NOT_ALLOWED - vhost nope not found" || e.ClassID != 10 || e.MethodID != 40 {
			t.Errorf("unknown virtual host: %+v", e)
		}
	})
}

// TestConfirmsCoverBurst sends messages in one piece, and counts the confirms.
func TestConfirmsCoverBurst(t *testing.T) {
	onDisk(t, func(s *session) {
		const n = 200
		q := s.queue(nil)
		r := s.raw()
		r.open()
		r.send(1, &wire.ConfirmSelect{})
		want[*wire.ConfirmSelectOk](r)
		var burst []byte
		for range n {
			burst = append(burst, publishTo(q)...)
			burst = append(burst, contentHeader(1, "\x10\x00\x02")...) // persistent
			burst = append(burst, frameOf(3, 1, []byte("x"))...)
		}
		r.write(burst)
		confirms, multiple := 0, 0
		for last := uint64(0); last < n; {
			ack := want[*wire.BasicAck](r)
			if ack.Multiple {
				multiple++
			} else if ack.DeliveryTag > last+1 {
				t.Fatalf("confirm %d alone, after %d", ack.DeliveryTag, last)
			}
			confirms, last = confirms+1, ack.DeliveryTag
		}
		if confirms >= n || multiple == 0 {
			t.Errorf("%d confirms for %d messages, %d of them for several", confirms, n, multiple)
		}
	})
}

// TestPublishLargeBodies: bodies of up to 128 MiB are accepted, larger ones refused.
func TestPublishLargeBodies(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	if !s.confirmed("", q, amqp.Publishing{Body: make([]byte, 20<<20)}) {
		t.Error("nacked")
	}
	if d := s.get(q); len(d.Body) != 20<<20 {
		t.Errorf("got %d bytes", len(d.Body))
	}
	r := dialRaw(t, b)
	r.open()
	const most = 128 << 20
	r.write(append(publishTo(q), contentHeader(most+1, "\x00\x00")...))
	if e := want[*wire.ChannelClose](r); e.ReplyCode != 406 || e.ReplyText != "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 134217728" {
		t.Errorf("closed with %+v", e)
	}
}

func TestListenBothLoopbackAddresses(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		b := devbroker.NewTest(t, func(c *devbroker.Config) { c.Addr = addr })
		_, port, err := net.SplitHostPort(b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if probe, err := net.Listen("tcp", "[::1]:0"); err != nil {
			t.Skip("no IPv6 here:", err)
		} else {
			_ = probe.Close()
		}
		for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
			s := newSession(t, "amqp://guest:guest@"+net.JoinHostPort(host, port)+"/")
			s.queue(nil)
		}
		if err := b.Down(); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("tcp", net.JoinHostPort("::1", port)); err == nil {
			t.Error("still listening on ::1")
		}
		if err := b.Up(); err != nil {
			t.Fatal(err)
		}
		newSession(t, "amqp://guest:guest@"+net.JoinHostPort("::1", port)+"/")
	}
}
