package devbroker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestQueueServerNamedExclusive(t *testing.T) {
	onBrokers(t, func(s *session) {
		q, err := s.ch.QueueDeclare("", false, true, true, false, nil)
		s.must(err)
		if !strings.HasPrefix(q.Name, "amq.gen-") {
			s.Fatalf("named %q", q.Name)
		}
		s.bind("", "a.#", "amq.topic", nil) // the empty name stands for the queue declared last
		other := s.other()
		_, err = other.ch.QueueDeclarePassive(q.Name, false, true, true, false, nil)
		if code(err) != amqp.ResourceLocked {
			s.Fatalf("used by another connection: %v", err)
		}
		s.must(s.conn.Close())
		other.ch = other.channel()
		_, err = other.ch.QueueDeclarePassive(q.Name, false, true, true, false, nil)
		if code(err) != amqp.NotFound {
			s.Fatalf("outlived its connection: %v", err)
		}
	})
}

func TestQueueAutoDelete(t *testing.T) {
	onBrokers(t, func(s *session) {
		name := s.name()
		_, err := s.ch.QueueDeclare(name, false, true, false, false, nil)
		s.must(err)
		for _, tag := range []string{"a", "b"} {
			_, err = s.ch.Consume(name, tag, false, false, false, false, nil)
			s.must(err)
		}
		s.must(s.ch.Cancel("a", false))
		_, err = s.ch.QueueDeclarePassive(name, false, true, false, false, nil)
		s.must(err)
		s.must(s.ch.Cancel("b", false))
		if _, err = s.ch.QueueDeclarePassive(name, false, true, false, false, nil); code(err) != amqp.NotFound {
			s.Fatalf("outlived its last consumer: %v", err)
		}
	})
}

func TestQueueCountsAndPurge(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, numbered(10)...)
		deliveries := s.consume(q, 4)
		for range 4 {
			s.next(deliveries)
		}
		s.eventuallyReady(q, 6)
		info, err := s.ch.QueueDeclarePassive(q, true, false, false, false, nil)
		s.must(err)
		if info.Consumers != 1 {
			s.Errorf("%d consumers", info.Consumers)
		}
		n, err := s.ch.QueuePurge(q, false)
		s.must(err)
		if n != 6 {
			s.Errorf("purged %d", n)
		}
		if _, err = s.channel().QueueDelete(q, false, true, false); err != nil {
			s.Errorf("deleting a queue without ready messages if empty: %v", err)
		}
	})
}

func TestQueueDeleteIfEmpty(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "x")
		s.eventuallyReady(q, 1)
		_, err := s.channel().QueueDelete(q, false, true, false)
		if code(err) != amqp.PreconditionFailed {
			s.Fatalf("got %v", err)
		}
		n, err := s.ch.QueueDelete(q, false, false, false)
		s.must(err)
		if n != 1 {
			s.Fatalf("deleted with %d messages", n)
		}
	})
}

func TestQueueLengthDropsHead(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, limit := range []amqp.Table{{"x-max-length": int32(3)}, {"x-max-length-bytes": int32(3)}} {
			q := s.queue(limit)
			s.must(s.ch.Confirm(false))
			for i := range 10 {
				if !s.confirmed("", q, persistent(fmt.Sprint(i))) {
					s.Errorf("%v: nacked", limit)
				}
			}
			if got := s.bodies(q); !slices.Equal(got, []string{"7", "8", "9"}) {
				s.Errorf("%v: left %q", limit, got)
			}
		}
	})
}

func TestQueueFullRefuses(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(amqp.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"})
		s.must(s.ch.Confirm(false))
		var confirmed []bool
		for range 4 {
			confirmed = append(confirmed, s.confirmed("", q, persistent("x")))
		}
		if !slices.Equal(confirmed, []bool{true, true, false, false}) {
			s.Fatalf("confirmed %v", confirmed)
		}
		s.get(q)
		if !s.confirmed("", q, persistent("x")) {
			s.Error("nacked although there is room again")
		}
		// Refused by one queue is refused, even if another takes it.
		x, roomy := s.exchange("fanout", nil), s.queue(nil)
		s.bind(q, "", x, nil)
		s.bind(roomy, "", x, nil)
		if s.confirmed(x, "", persistent("x")) {
			s.Error("confirmed although one queue refused")
		}
		s.eventuallyReady(roomy, 1)
	})
}

func TestQueueFullDeadLetters(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlq := s.queue(nil)
		q := s.queue(amqp.Table{
			"x-max-length": int32(1), "x-overflow": "reject-publish-dlx",
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq,
		})
		s.must(s.ch.Confirm(false))
		if !s.confirmed("", q, persistent("0")) || s.confirmed("", q, persistent("1")) {
			s.Fatal("want an ack and a nack")
		}
		d := s.get(dlq)
		if death := deaths(s, d)[0]; string(d.Body) != "1" || death["reason"] != "maxlen" {
			s.Fatalf("dead letter %q: %v", d.Body, death)
		}
	})
}

func TestQuorumDeliveryLimit(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlq := s.queue(nil)
		q := s.queue(amqp.Table{
			"x-queue-type": "quorum", "x-delivery-limit": int32(2),
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq,
		})
		s.send(q, "poison", "fine")
		deliveries := s.consume(q, 1)
		for count := range 3 {
			d := s.nextBody(deliveries, "poison")
			have, counted := d.Headers["x-delivery-count"]
			if counted != (count > 0) || counted && have != int64(count) || d.Redelivered != (count > 0) {
				s.Errorf("delivery %d: x-delivery-count %v, redelivered %v", count, have, d.Redelivered)
			}
			s.must(d.Nack(false, true))
		}
		s.nextBody(deliveries, "fine")
		if death := deaths(s, s.get(dlq))[0]; death["reason"] != "delivery_limit" {
			s.Fatalf("death %v", death)
		}
	})
}

func TestQuorumQueueHasNoGlobalPrefetch(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(amqp.Table{"x-queue-type": "quorum"})
		s.must(s.ch.Qos(5, 0, true))
		_, err := s.ch.Consume(q, "", false, false, false, false, nil)
		if e, ok := err.(*amqp.Error); !ok || e.Code != 540 || !strings.HasSuffix(e.Reason, "does not support global qos") {
			s.Fatalf("got %v", err)
		}
	})
}

func TestQueueExpires(t *testing.T) {
	onBrokers(t, func(s *session) {
		used := s.queue(amqp.Table{"x-expires": int32(100)})
		unused := s.queue(amqp.Table{"x-expires": int32(100)})
		s.consume(used, 1)
		s.letPass(400) // asking sooner would count as use
		if _, err := s.channel().QueueDeclarePassive(unused, true, false, false, false, nil); code(err) != amqp.NotFound {
			s.Fatalf("the unused queue: %v", err)
		}
		if _, err := s.channel().QueueDeclarePassive(used, true, false, false, false, nil); err != nil {
			s.Fatalf("the queue in use: %v", err)
		}
	})
}
