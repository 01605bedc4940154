package devbroker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// start runs a broker on a data directory and returns a session with it.
func start(t *testing.T, dir string) (*devbroker.Broker, *session) {
	t.Helper()
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.DataDir = dir })
	return b, newSession(t, b.URL())
}

func stop(t *testing.T, b *devbroker.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// acrossRestart runs before, restarts the broker in each possible way, and runs after.
func acrossRestart(t *testing.T, before, after func(s *session)) {
	t.Parallel()
	t.Run("closed and started", func(t *testing.T) {
		dir := t.TempDir()
		b, s := start(t, dir)
		before(s)
		stop(t, b)
		_, s = start(t, dir)
		after(s)
	})
	for kind, dir := range map[string]string{"restarted": t.TempDir(), "restarted in memory": ""} {
		t.Run(kind, func(t *testing.T) {
			b, s := start(t, dir)
			before(s)
			if err := b.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			after(newSession(t, b.URL()))
		})
	}
}

func TestRestartKeepsDurable(t *testing.T) {
	acrossRestart(t, func(s *session) {
		must := s.must
		must(s.ch.ExchangeDeclare("durable", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "other"}))
		must(s.ch.ExchangeDeclare("other", "fanout", true, false, false, false, nil))
		must(s.ch.ExchangeDeclare("transient", "direct", false, false, false, false, nil))
		must(s.ch.ExchangeDeclare("deleted", "direct", true, false, false, false, nil))
		must(s.ch.ExchangeDelete("deleted", false, false))
		s.queueNamed("q", amqp.Table{"x-max-length": int32(100)})
		s.queueNamed("quorum", amqp.Table{"x-queue-type": "quorum"})
		s.queueNamed("deleted", nil)
		for queue, durable := range map[string]bool{"transient": false, "exclusive": true} {
			_, err := s.ch.QueueDeclare(queue, durable, false, queue == "exclusive", false, nil)
			must(err)
		}
		s.bind("q", "a.*", "durable", nil)
		s.bind("q", "b.*", "durable", nil)
		must(s.ch.QueueUnbind("q", "b.*", "durable", nil))
		s.bind("quorum", "", "other", nil)
		s.bind("transient", "#", "durable", nil)
		must(s.ch.ExchangeBind("other", "to.other", "durable", false, nil))

		must(s.ch.Confirm(false))
		s.confirmed("", "deleted", persistent("deleted"))
		_, err := s.ch.QueueDelete("deleted", false, false, false)
		must(err)
		for i := range 6 {
			s.confirmed("durable", "a.b", persistent(fmt.Sprint(i)))
		}
		s.confirmed("", "q", amqp.Publishing{Body: []byte("transient")})
		s.confirmed("", "quorum", amqp.Publishing{Body: []byte("quorum queues keep everything")})
		s.confirmed("", "transient", persistent("transient"))

		s.get("q") // "0" was acknowledged
		deliveries := s.consume("q", 0)
		must(s.nextBody(deliveries, "1").Ack(false))
		s.nextBody(deliveries, "2") // delivered, not acknowledged
		must(s.nextBody(deliveries, "3").Nack(false, false))
		s.ready("q") // the broker has read all that
	}, func(s *session) {
		for _, gone := range []string{"transient", "exclusive", "deleted"} {
			if _, err := s.channel().QueueDeclarePassive(gone, false, false, false, false, nil); code(err) != amqp.NotFound {
				s.Errorf("queue %s: %v", gone, err)
			}
		}
		for _, gone := range []string{"transient", "deleted"} {
			if err := s.channel().ExchangeDeclarePassive(gone, "direct", false, false, false, false, nil); code(err) != amqp.NotFound {
				s.Errorf("exchange %s: %v", gone, err)
			}
		}
		s.queueNamed("q", amqp.Table{"x-max-length": int32(100)})
		s.must(s.ch.ExchangeDeclare("durable", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "other"}))
		if d := s.get("q"); string(d.Body) != "2" || !d.Redelivered {
			s.Errorf("first %q, redelivered %v", d.Body, d.Redelivered)
		}
		s.must(s.ch.Confirm(false))
		s.confirmed("durable", "a.x", persistent("bound"))
		s.confirmed("durable", "b.x", persistent("not bound, alternate"))
		s.confirmed("durable", "to.other", persistent("through other"))
		if got := s.bodies("q"); !slices.Equal(got, []string{"4", "5", "bound"}) {
			s.Errorf("q holds %q", got)
		}
		if got := s.bodies("quorum"); !slices.Equal(got, []string{"quorum queues keep everything", "not bound, alternate", "through other"}) {
			s.Errorf("quorum holds %q", got)
		}
	})
}

func TestRestartKeepsTimeToLive(t *testing.T) {
	acrossRestart(t, func(s *session) {
		s.queueNamed("dlq", nil)
		s.queueNamed("q", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dlq"})
		s.must(s.ch.Confirm(false))
		p := persistent("x")
		p.Expiration = "300"
		s.confirmed("", "q", p)
	}, func(s *session) {
		if death := deaths(s, s.get("dlq"))[0]; death["reason"] != "expired" {
			s.Errorf("death %v", death)
		}
		s.eventuallyReady("q", 0)
	})
}

func TestRestartKeepsDeadLettersOnce(t *testing.T) {
	acrossRestart(t, func(s *session) {
		s.queueNamed("dlq", nil)
		s.queueNamed("q", amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(5), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dlq"})
		s.must(s.ch.Confirm(false))
		s.confirmed("", "q", persistent("rejected"))
		s.confirmed("", "q", persistent("returned"))
		deliveries := s.consume("q", 2)
		s.must(s.nextBody(deliveries, "rejected").Reject(false))
		s.must(s.nextBody(deliveries, "returned").Reject(true))
		s.eventuallyReady("dlq", 1)
		s.nextBody(deliveries, "returned")
	}, func(s *session) {
		if got := s.bodies("dlq"); !slices.Equal(got, []string{"rejected"}) {
			s.Errorf("dlq holds %q", got)
		}
		d := s.next(s.consume("q", 1))
		if string(d.Body) != "returned" || d.Headers["x-delivery-count"] != int64(2) {
			s.Errorf("got %q with %v", d.Body, d.Headers)
		}
	})
}

// TestRestartForgetsAcknowledged closes the broker while acknowledgements are on their way to it.
func TestRestartForgetsAcknowledged(t *testing.T) {
	dir := t.TempDir()
	b, s := start(t, dir)
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	const messages = 20000
	for _, d := range s.publishN(q, messages) {
		await(t, "confirm", d.Done())
	}
	r := dialRaw(t, b)
	r.open()
	r.send(1, &wire.BasicConsume{Queue: q})
	want[*wire.BasicConsumeOk](r)
	var acks []byte
	for range messages {
		acks = wire.AppendMethod(acks, 1, &wire.BasicAck{DeliveryTag: want[*wire.BasicDeliver](r).DeliveryTag})
	}
	closing := make(chan error)
	go func() { closing <- b.Close() }()
	r.write(acks)
	if code := r.ended(); code != amqp.ConnectionForced {
		t.Errorf("ended with %d", code)
	}
	s.must(await(t, "the broker to close", closing))
	_, s = start(t, dir)
	if n := s.ready(q); n != 0 {
		t.Fatalf("%d of %d came back", n, messages)
	}
}

func TestJournalIsCompacted(t *testing.T) {
	dir := t.TempDir()
	b, s := start(t, dir)
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	s.confirmed("", q, persistent("kept"))
	body := strings.Repeat("x", 64<<10)
	deliveries := s.consume(q, 2)
	s.nextBody(deliveries, "kept") // and never acknowledged
	largest := int64(0)
	for range 1000 { // 64 MB through a queue that is nearly empty
		s.confirmed("", q, persistent(body))
		s.must(s.next(deliveries).Ack(false))
		largest = max(largest, b.Stats().JournalBytes)
	}
	if largest < 8<<20 || largest > 40<<20 {
		t.Errorf("the journal grew to %d MB", largest>>20)
	}
	s.ready(q) // the broker has read all acknowledgements
	stop(t, b)
	if size := sizeOf(t, dir); size > 16<<20 {
		t.Errorf("%d MB are left on disk", size>>20)
	}
	_, s = start(t, dir)
	if got := s.bodies(q); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("left %d messages", len(got))
	}
}

func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

func TestDataDirLocked(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	_, err := devbroker.Start(context.Background(), devbroker.Config{Addr: "127.0.0.1:0", DataDir: dir})
	if !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("second broker: %v", err)
	}
}

func TestDataDirDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "00000001.journal"), []byte("something else altogether"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := devbroker.Start(context.Background(), devbroker.Config{Addr: "127.0.0.1:0", DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "not a journal of this program") {
		t.Fatalf("started with %v", err)
	}
}
