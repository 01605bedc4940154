package devbroker_test

import (
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// urgent publishes a message of a priority.
func (s *session) urgent(queue, body string, priority uint8) {
	s.Helper()
	s.publish("", queue, amqp.Publishing{DeliveryMode: amqp.Persistent, Priority: priority, Body: []byte(body)})
}

func TestPriorities(t *testing.T) {
	onDisk(t, func(s *session) {
		q := s.queue(amqp.Table{"x-max-priority": int32(5)})
		s.urgent(q, "low 1", 1)
		s.urgent(q, "high 1", 5)
		s.send(q, "none")
		s.urgent(q, "beyond", 200) // counts as 5
		s.urgent(q, "low 2", 1)
		s.urgent(q, "high 2", 5)
		s.eventuallyReady(q, 6)
		deliveries := s.consume(q, 1)
		d := s.nextBody(deliveries, "high 1")
		s.urgent(q, "late", 5)
		s.must(d.Nack(false, true)) // to its place, before what came later
		for _, body := range []string{"high 1", "beyond", "high 2", "late", "low 1", "low 2", "none"} {
			s.must(s.nextBody(deliveries, body).Ack(false))
		}
	})
}

func TestPrioritiesWithoutMaximum(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.urgent(q, "1", 1)
		s.urgent(q, "9", 9)
		s.eventuallyReady(q, 2)
		if got := s.bodies(q); !slices.Equal(got, []string{"1", "9"}) {
			t.Errorf("%q: a queue without x-max-priority has no priorities", got)
		}
	})
}

// TestPrioritiesFullQueue: a full queue drops from the head, where the urgent messages are.
func TestPrioritiesFullQueue(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(amqp.Table{"x-max-priority": int32(5), "x-max-length": int32(2)})
		s.urgent(q, "high", 5)
		s.urgent(q, "low 1", 1)
		s.eventuallyReady(q, 2)
		s.urgent(q, "low 2", 1)
		s.eventually("the head to be dropped", func() bool { return s.ready(q) == 2 })
		if got := s.bodies(q); !slices.Equal(got, []string{"low 1", "low 2"}) {
			t.Errorf("left %q", got)
		}
	})
}

func TestPrioritiesSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, dir)
	s := newSession(t, c.url)
	s.queueNamed("q", amqp.Table{"x-max-priority": int32(9)})
	s.must(s.ch.Confirm(false))
	s.urgent("q", "low", 1)
	s.urgent("q", "high", 9)
	s.confirmed("", "q", persistent("none"))
	c.kill()
	if left := newSession(t, startChild(t, dir).url).bodies("q"); !slices.Equal(left, []string{"high", "low", "none"}) {
		t.Errorf("left %q", left)
	}
}
