package devbroker_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// publishing publishes a message to an exchange and returns its confirm.
func (s *session) publishing(exchange, key string) *amqp.DeferredConfirmation {
	s.Helper()
	d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), exchange, key, false, false, persistent(key))
	s.must(err)
	return d
}

// acked waits for a confirm and reports whether it was one.
func (s *session) acked(d *amqp.DeferredConfirmation) bool {
	s.Helper()
	await(s.T, "a confirm", d.Done())
	return d.Acked()
}

// TestFaultWithholdConfirmsLimited withholds confirms of one queue, of one routing key, and of both in one broker.
func TestFaultWithholdConfirmsLimited(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		b, s := start(t, dir)
		x, q, other := s.exchange("topic", nil), s.queue(nil), s.queue(nil)
		s.bind(q, "a.#", x, nil)
		s.bind(other, "#", x, nil)
		s.must(s.ch.Confirm(false))
		byQueue := devbroker.Fault{Kind: devbroker.FaultWithholdConfirms, Queue: q}
		byKey := devbroker.Fault{Kind: devbroker.FaultWithholdConfirms, RoutingKey: "b.1"}
		s.must(b.Inject(byQueue))
		s.must(b.Inject(byKey))
		s.must(b.Inject(byKey)) // in its own place
		if active := b.Faults(); len(active) != 2 {
			t.Fatalf("active: %+v", active)
		}
		queued, keyed := s.publishing(x, "a.1"), s.publishing(x, "b.1")
		for range 20 {
			if !s.acked(s.publishing(x, "b.2")) {
				t.Fatal("nacked")
			}
		}
		if n := s.unanswered([]*amqp.DeferredConfirmation{queued, keyed}); n != 2 {
			t.Errorf("%d of 2 unanswered", n)
		}
		s.eventuallyReady(q, 1) // it is only the confirm that is withheld
		s.must(b.ClearFault(byQueue))
		if !s.acked(queued) || s.unanswered([]*amqp.DeferredConfirmation{keyed}) != 1 || len(b.Faults()) != 1 {
			t.Errorf("after the first is cleared: %+v", b.Faults())
		}
		s.must(b.Clear(devbroker.FaultWithholdConfirms))
		if !s.acked(keyed) {
			t.Error("nacked")
		}
	}
}

func TestFaultRefusePublishes(t *testing.T) {
	b, s := faulty(t)
	x, q, other := s.exchange("fanout", nil), s.queue(nil), s.queue(nil)
	s.bind(q, "", x, nil)
	s.bind(other, "", x, nil)
	s.must(s.ch.Confirm(false))
	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultRefusePublishes, Queue: q, Count: 2}))
	if !s.acked(s.publishing("", other)) {
		t.Error("another queue refuses")
	}
	if s.acked(s.publishing("", q)) || s.acked(s.publishing(x, "k")) {
		t.Error("not refused")
	}
	if len(b.Faults()) != 0 || !s.acked(s.publishing("", q)) || s.ready(q) != 1 || s.ready(other) != 2 {
		t.Errorf("afterwards %d and %d messages, faults %+v", s.ready(q), s.ready(other), b.Faults())
	}
	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultRefusePublishes, RoutingKey: "poison"}))
	if s.acked(s.publishing(x, "poison")) || !s.acked(s.publishing(x, "wine")) {
		t.Error("the key makes no difference")
	}
}

func TestFaultStallQueues(t *testing.T) {
	b, s := faulty(t)
	q, other := s.queue(nil), s.queue(nil)
	s.must(s.ch.Confirm(false))
	deliveries := s.consume(q, 10)
	if !s.acked(s.publishing("", q)) {
		t.Error("nacked")
	}
	s.must(s.next(deliveries).Ack(false))
	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultStallQueues, Queue: q}))
	stalled := s.publishing("", q)
	if !s.acked(s.publishing("", other)) {
		t.Error("another queue stalls")
	}
	s.nothing(deliveries)
	if s.unanswered([]*amqp.DeferredConfirmation{stalled}) != 1 {
		t.Error("confirmed")
	}
	if _, _, err := s.other().ch.Get(q, true); code(err) != 541 {
		t.Errorf("get: %v", err)
	}
	s.must(b.Clear())
	if !s.acked(stalled) {
		t.Error("nacked")
	}
	s.must(s.next(deliveries).Ack(false))
}

func TestFaultDeliveriesLimited(t *testing.T) {
	b, s := faulty(t)
	q, other := s.queue(nil), s.queue(nil)
	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultDelayDeliveries, Delay: time.Hour, Queue: q}))
	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultDuplicateDeliveries, RoutingKey: other, Count: 1}))
	late := s.consume(q, 0)
	s.send(q, "late")
	s.send(other, "twice", "once")
	deliveries := s.consume(other, 0)
	for _, body := range []string{"twice", "twice", "once"} {
		s.nextBody(deliveries, body)
	}
	s.nothing(late)
	s.must(b.ClearFault(devbroker.Fault{Kind: devbroker.FaultDelayDeliveries, Queue: q}))
	s.nextBody(late, "late")
}
