package devbroker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// deaths returns the entries of x-death.
func deaths(s *session, d amqp.Delivery) (tables []amqp.Table) {
	s.Helper()
	entries, _ := d.Headers["x-death"].([]any)
	for _, e := range entries {
		tables = append(tables, e.(amqp.Table))
	}
	if len(tables) == 0 {
		s.Fatalf("no x-death in %v", d.Headers)
	}
	return tables
}

func TestDeadLetterRejected(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlx, dlq := s.exchange("topic", nil), s.queue(nil)
		s.bind(dlq, "#", dlx, nil)
		x := s.exchange("direct", nil)
		q := s.queue(amqp.Table{"x-dead-letter-exchange": dlx})
		s.bind(q, "the.key", x, nil)
		p := persistent("bad")
		p.MessageId, p.Headers = "m1", amqp.Table{"keep": "me"}
		s.publish(x, "the.key", p)
		s.must(s.next(s.consume(q, 1)).Reject(false))

		d := s.get(dlq)
		if d.Exchange != dlx || d.RoutingKey != "the.key" || d.MessageId != "m1" || d.Headers["keep"] != "me" ||
			d.DeliveryMode != amqp.Persistent || d.Redelivered {
			s.Errorf("dead letter %+v", d)
		}
		if d.Headers["x-first-death-queue"] != q || d.Headers["x-first-death-exchange"] != x || d.Headers["x-first-death-reason"] != "rejected" {
			s.Errorf("first death: %v", d.Headers)
		}
		death := deaths(s, d)[0]
		at, _ := death["time"].(time.Time)
		delete(death, "time")
		want := amqp.Table{
			"reason": "rejected", "queue": q, "exchange": x, "count": int64(1), "routing-keys": []any{"the.key"},
		}
		if fmt.Sprint(death) != fmt.Sprint(want) || time.Since(at) > time.Minute {
			s.Errorf("death %v at %v, want %v", death, at, want)
		}
	})
}

func TestDeadLetterRoutingKey(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlq := s.queue(nil)
		q := s.queue(amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq})
		p := persistent("bad")
		p.Headers = amqp.Table{"CC": []any{"elsewhere"}}
		s.publish("", q, p)
		s.must(s.next(s.consume(q, 1)).Nack(false, false))
		d := s.get(dlq)
		if d.RoutingKey != dlq || d.Headers["CC"] != nil {
			s.Errorf("key %q, headers %v", d.RoutingKey, d.Headers)
		}
		if keys := fmt.Sprint(deaths(s, d)[0]["routing-keys"]); keys != fmt.Sprint([]any{q, "elsewhere"}) {
			s.Errorf("routing-keys %s", keys)
		}
	})
}

func TestDeadLetterDelayedRetry(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, kind := range []string{"classic", "quorum"} {
			retry, work := s.name(), s.name()
			s.queueNamed(work, amqp.Table{
				"x-queue-type": kind, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry,
			})
			s.queueNamed(retry, amqp.Table{
				"x-queue-type": kind, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": int32(50),
			})
			s.send(work, "x")
			deliveries := s.consume(work, 1)
			for range 2 {
				s.must(s.next(deliveries).Nack(false, false))
			}
			all := deaths(s, s.next(deliveries))
			if len(all) != 2 {
				s.Fatalf("%s: deaths %v", kind, all)
			}
			for i, want := range []struct{ queue, reason string }{{retry, "expired"}, {work, "rejected"}} {
				if all[i]["queue"] != want.queue || all[i]["reason"] != want.reason || all[i]["count"] != int64(2) {
					s.Errorf("%s: death %d: %v, want %v twice", kind, i, all[i], want)
				}
			}
		}
	})
}

func TestDeadLetterRemovesExpiration(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlq := s.queue(nil)
		q := s.queue(amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq, "x-message-ttl": int32(60000)})
		p := persistent("x")
		p.Expiration = "20"
		s.publish("", q, p)
		d := s.get(dlq)
		if death := deaths(s, d)[0]; d.Expiration != "" || death["original-expiration"] != "20" || death["reason"] != "expired" {
			s.Errorf("expiration %q, death %v", d.Expiration, death)
		}
	})
}

func TestDeadLetterDroppedHead(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlq := s.queue(nil)
		q := s.queue(amqp.Table{"x-max-length": int32(1), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq})
		s.send(q, "0", "1", "2")
		s.eventuallyReady(dlq, 2)
		if death := deaths(s, s.get(dlq))[0]; death["reason"] != "maxlen" {
			s.Errorf("death %v", death)
		}
		if got := s.bodies(q); !slices.Equal(got, []string{"2"}) {
			s.Errorf("left %q", got)
		}
	})
}

func TestDeadLetterCycleEnds(t *testing.T) {
	onBrokers(t, func(s *session) {
		a, b := s.name(), s.name()
		s.queueNamed(a, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": b, "x-message-ttl": int32(10)})
		s.queueNamed(b, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": a, "x-message-ttl": int32(10)})
		s.send(a, "round and round")
		s.letPass(200)
		if n, m := s.ready(a), s.ready(b); n+m != 0 {
			s.Errorf("still going round: %d and %d", n, m)
		}
	})
}

func TestDeadLetterMissingExchange(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(amqp.Table{"x-dead-letter-exchange": s.name()})
		s.send(q, "x", "y")
		deliveries := s.consume(q, 1)
		s.must(s.nextBody(deliveries, "x").Reject(false))
		s.must(s.nextBody(deliveries, "y").Ack(false))
		s.eventuallyReady(q, 0)
	})
}

func TestDeadLetterAtLeastOnceWaits(t *testing.T) {
	onBrokers(t, func(s *session) {
		dlx := s.name()
		q := s.queue(amqp.Table{
			"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
			"x-dead-letter-exchange": dlx, "x-message-ttl": int32(10),
		})
		s.send(q, "kept")
		s.eventuallyReady(q, 0) // expired, without a dead-letter exchange
		s.must(s.ch.ExchangeDeclare(dlx, "fanout", true, false, false, false, nil))
		s.afterwards(func(ch *amqp.Channel) { _ = ch.ExchangeDelete(dlx, false, false) })
		dlq := s.queue(nil)
		s.bind(dlq, "", dlx, nil)
		if s.real {
			return // it tries again after three minutes
		}
		if d := s.get(dlq); string(d.Body) != "kept" {
			s.Fatalf("got %q", d.Body)
		}
	})
}
