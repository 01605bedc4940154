package faults_test

import (
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// tap sees every message that goes through the system's exchange.
type tap struct {
	t  *testing.T
	mu sync.Mutex
	// deliveries by event id, in the order of arrival.
	deliveries map[string][]amqp.Delivery
	order      []amqp.Delivery
}

// startTap starts to listen. The tap does not survive the broker.
func (s *system) startTap() *tap {
	s.t.Helper()
	tap := &tap{t: s.t, deliveries: map[string][]amqp.Delivery{}}
	ch := s.channel()
	if err := ch.ExchangeDeclare(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		s.t.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "#", s.exchange, false, nil); err != nil {
		s.t.Fatal(err)
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range deliveries {
			tap.mu.Lock()
			tap.deliveries[d.MessageId] = append(tap.deliveries[d.MessageId], d)
			tap.order = append(tap.order, d)
			tap.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { // before the connection, whose end ends the deliveries
		_ = ch.Close() // the broker may be down
		<-done
	})
	return tap
}

// channel opens a channel on a new connection.
func (s *system) channel() *amqp.Channel {
	s.t.Helper()
	conn, err := amqp.Dial(s.amqpURL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() }) // the broker may be down
	ch, err := conn.Channel()
	if err != nil {
		s.t.Fatal(err)
	}
	return ch
}

func (tap *tap) all() []amqp.Delivery {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return tap.order[:len(tap.order):len(tap.order)]
}

// seen returns the ids of the events seen so far.
func (tap *tap) seen() map[string]bool {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	seen := make(map[string]bool, len(tap.deliveries))
	for id := range tap.deliveries {
		seen[id] = true
	}
	return seen
}

// await waits until n copies were seen, of one event or of several.
func (tap *tap) await(n int) {
	tap.t.Helper()
	testenv.Eventually(tap.t, patience, "messages at the exchange", func() bool { return len(tap.all()) >= n })
}

// copies returns the copies of one event seen so far.
func (tap *tap) copies(eventID string) []amqp.Delivery {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return tap.deliveries[eventID]
}

// requireCopies fails the test unless every event went through the exchange as
// often as want says, each copy with the same body.
func (tap *tap) requireCopies(of []placed, want func(eventID string) int) {
	tap.t.Helper()
	total := 0
	for _, p := range of {
		total += want(p.EventID)
	}
	tap.await(total)
	for _, p := range of {
		copies := tap.copies(p.EventID)
		if len(copies) != want(p.EventID) {
			tap.t.Errorf("event %s: %d copies on the wire, want %d", p.EventID, len(copies), want(p.EventID))
		}
		for _, d := range copies {
			if string(d.Body) != string(copies[0].Body) || d.Headers["pulse-seq"] != copies[0].Headers["pulse-seq"] {
				tap.t.Errorf("event %s: its copies differ: %s and %s", p.EventID, copies[0].Body, d.Body)
			}
		}
	}
}

// requireKnown waits until the consumer has recognised at least so many copies as
// duplicates, and fails the test if it has recognised more than went through the
// exchange. They may be fewer: of messages that are not confirmed when their
// connection breaks, RabbitMQ may have given one to the tap's queue, and not give
// it to the consumer's any more.
func (tap *tap) requireKnown(consumer *service, least int) {
	tap.t.Helper()
	if least < 1 {
		tap.t.Error("nothing was applied before it was published again: nothing was tested")
	}
	var known int
	testenv.Eventually(tap.t, patience, "the copies to be recognised", func() bool {
		known = consumer.health(tap.t).Consumer.Duplicates
		return known >= least
	})
	if copies := len(tap.all()) - len(tap.seen()); known > copies {
		tap.t.Errorf("%d duplicates were recognised, of %d copies", known, copies)
	}
}

// deadLetters returns the messages in the dead-letter queue by event id, and
// leaves them in the queue.
func (s *system) deadLetters() map[string]amqp.Delivery {
	s.t.Helper()
	ch := s.channel()
	letters := map[string]amqp.Delivery{}
	for {
		d, ok, err := ch.Get(rabbitmq.QueueNames(s.queue, retryDelays).DeadLetters, false)
		if err != nil {
			s.t.Fatal(err)
		}
		if !ok {
			break
		}
		letters[d.MessageId] = d
	}
	if err := ch.Close(); err != nil {
		s.t.Fatal(err)
	}
	return letters
}
