package devbroker_test

import (
	"bytes"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const megabyte = 1 << 20

func limited(t *testing.T, limit int64) *devbroker.Broker {
	return devbroker.NewTest(t, func(c *devbroker.Config) { c.MemoryLimit, c.MaxMessageSize = limit, megabyte })
}

func TestMemoryFullBlocksPublishers(t *testing.T) {
	b := limited(t, 4*megabyte)
	s, reader := newSession(t, b.URL()), newSession(t, b.URL())
	blocked := s.conn.NotifyBlocked(make(chan amqp.Blocking, 1000)) // a full listener would stall the client
	unconcerned := reader.conn.NotifyBlocked(make(chan amqp.Blocking, 1000))
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	var all []*amqp.DeferredConfirmation
	body := strings.Repeat("x", megabyte/4)
	const messages = 40 // ten megabytes
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for range messages {
			d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", q, false, false, persistent(body))
			if err != nil {
				t.Error(err)
				return
			}
			all = append(all, d)
		}
	}()
	if e := await(t, "connection.blocked", blocked); !e.Active || e.Reason != "low on memory" {
		t.Fatalf("notified of %+v", e)
	}
	if stats := b.Stats(); !stats.Blocked || stats.MemoryBytes > 5*megabyte {
		t.Fatalf("blocked %v with %d bytes", stats.Blocked, stats.MemoryBytes)
	}
	deliveries := reader.consume(q, 1) // makes room, and is not blocked
	for range messages {
		reader.must(reader.next(deliveries).Ack(false))
	}
	<-sending
	for _, d := range all {
		if await(t, "confirm", d.Done()); !d.Acked() {
			t.Fatal("nacked")
		}
	}
	for active := true; active; { // it may have been blocked several times
		active = await(t, "connection.unblocked", blocked).Active
	}
	select {
	case e := <-unconcerned:
		t.Fatalf("a connection that does not publish was notified of %+v", e)
	default:
	}
	reader.ready(q) // the last acknowledgement was read
	if stats := b.Stats(); stats.Blocked || stats.MemoryBytes > 100<<10 {
		t.Fatalf("blocked %v with %d bytes at the end", stats.Blocked, stats.MemoryBytes)
	}
}

func TestMemoryIsReleased(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	before := b.Stats().MemoryBytes
	x := s.exchange("fanout", nil)
	dlq := s.queue(amqp.Table{"x-max-length": int32(3)})
	q := s.queue(amqp.Table{"x-message-ttl": int32(60000), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq})
	other := s.queue(amqp.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"})
	s.bind(q, "", x, nil)
	s.bind(other, "", x, amqp.Table{"some": "argument"})
	for range 10 {
		s.publish(x, "", persistent("x"))
	}
	deliveries := s.consume(q, 6)
	for i := range 6 {
		d := s.next(deliveries)
		switch i % 3 {
		case 0:
			s.must(d.Ack(false))
		case 1:
			s.must(d.Reject(false))
		}
	}
	s.publish("", q, amqp.Publishing{Expiration: "1", Body: []byte("x")})
	_, err := s.ch.QueuePurge(other, false)
	s.must(err)
	for _, name := range []string{q, other, dlq} {
		_, err := s.ch.QueueDelete(name, false, false, false)
		s.must(err)
	}
	s.must(s.ch.ExchangeDelete(x, false, false))
	s.must(s.conn.Close()) // with deliveries of a deleted queue
	if after := b.Stats().MemoryBytes; after != before {
		t.Fatalf("%d bytes before, %d after", before, after)
	}
}

func TestMemoryLimitsDefinitions(t *testing.T) {
	b := limited(t, megabyte)
	s := newSession(t, b.URL())
	ballast := amqp.Table{"ballast": strings.Repeat("x", 60000)}
	for range 1000 {
		if _, err := s.ch.QueueDeclare("", false, false, false, false, ballast); err != nil {
			if code(err) != 506 || !s.conn.IsClosed() {
				t.Fatalf("refused with %v", err)
			}
			return
		}
	}
	t.Fatal("60 MB of definitions in a broker of 1 MB")
}

func TestMemoryLimitsUploads(t *testing.T) {
	b := limited(t, megabyte)
	header := contentHeader(megabyte-1, "\x00\x00")
	half := frameOf(3, 1, bytes.Repeat([]byte("x"), 100000))
	var all []*raw
	for range 60 {
		r := dialRaw(t, b)
		r.open()
		r.write(append(publishTo("q"), header...))
		all = append(all, r)
	}
	for _, r := range all { // 6 MB under way, none of them complete
		r.write(half)
	}
	refused := 0
	for _, r := range all {
		_ = r.nc.(interface{ CloseWrite() error }).CloseWrite()
		if r.ended() == 506 {
			refused++
		}
	}
	// Those that end early make room for those read late, so the number that is refused varies.
	if refused == 0 || refused > 40 {
		t.Errorf("%d of 60 refused", refused)
	}
	eventually(t, "the memory to be freed", func() bool { return b.Stats().MemoryBytes == 0 && !b.Stats().Blocked })
}

// TestConnectionSlowReader publishes far more than a client reads that has set no prefetch: what waits for it must stay queued,
// not pile up on the way to it.
func TestConnectionSlowReader(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	q := s.queue(nil)
	r := dialRaw(t, b)
	r.open()
	r.send(1, &wire.BasicConsume{Queue: q, NoAck: true})
	want[*wire.BasicConsumeOk](r)
	const messages = 64
	body := strings.Repeat("x", megabyte)
	s.must(s.ch.Confirm(false))
	for range messages {
		s.confirmed("", q, persistent(body))
	}
	if n := s.ready(q); n < messages/2 {
		t.Fatalf("only %d of %d are still queued", n, messages)
	}
	for range messages { // and now it reads
		if want[*wire.BasicDeliver](r).DeliveryTag == messages {
			return
		}
	}
	t.Fatal("not everything was delivered")
}

// TestConnectionNeverReads sends requests and reads no answers. The broker must stop reading, not collect them.
func TestConnectionNeverReads(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	q := s.queue(nil)
	s.send(q, strings.Repeat("x", megabyte))
	s.eventuallyReady(q, 1)
	r := dialRaw(t, b)
	r.open()
	const requests = 60
	for range requests {
		r.send(1, &wire.BasicGet{Queue: q}, &wire.BasicRecoverAsync{Requeue: true})
	}
	r.send(1, &wire.QueueDeclare{Queue: "reached"})
	s.letPass(300) // others are served
	if _, ok := b.Queue("reached"); ok {
		t.Errorf("%d answers of a megabyte were collected", requests)
	}
	for range requests { // now it reads
		want[*wire.BasicGetOk](r)
	}
	want[*wire.QueueDeclareOk](r)
}
