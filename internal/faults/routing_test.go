package faults_test

import (
	"errors"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F5, first variant: no queue is bound yet.
func TestF5NoBinding(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	other := s.bindOther()
	s.startOrders()
	waiting := s.place(5)
	s.requireUnroutable(waiting)
	s.requireFlow(other)

	s.startNotifications() // declares and binds the queue
	s.awaitSettled()
	s.requireAttemptsSay("NO_ROUTE")
	s.requireClean(exceptions{})
}

// F5, second variant: the queue is deleted while the services run; first
// without a consumer that would declare it again, then with one.
func TestF5QueueDeleted(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	other := s.bindOther()
	consumer := s.startNotifications()
	s.startOrders()
	s.place(5)
	s.awaitSettled()
	consumer.stop()
	s.deleteQueue()
	s.requireUnroutable(s.place(5))
	s.requireFlow(other)

	s.startNotifications()
	s.awaitSettled()
	s.deleteQueue()
	s.place(20)
	s.awaitSettled() // the consumer has declared the queue again
	s.requireAttemptsSay("NO_ROUTE")
	s.requireClean(exceptions{})
}

// F5, third variant: the exchange is deleted, and all bindings with it.
// Publishing to it closes the channel, which is not the fault of the message:
// the exchange is declared again, and then the message is unroutable until a
// queue is bound.
func TestF5ExchangeDeleted(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications()
	s.startOrders()
	s.place(5)
	s.awaitSettled()
	ch := s.channel()
	if err := ch.ExchangeDelete(s.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	waiting := s.place(5)
	s.requireUnroutable(waiting)
	if err := ch.ExchangeDeclarePassive(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatalf("the exchange was not declared again: %v", err)
	}

	other := s.bindOther()
	s.requireFlow(other)
	if err := ch.QueueBind(s.queue, "order.created", s.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	s.awaitSettled()
	s.requireAttemptsSay("NO_ROUTE") // none because of the missing exchange
	s.requireClean(exceptions{})
}

// F6: the queue is full and refuses messages.
func TestF6QueueRefuses(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	ch := s.channel()
	if err := ch.ExchangeDeclare(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	full := amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"}
	q, err := ch.QueueDeclare(testenv.UniqueName(t, "full"), true, false, false, false, full)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "order.created", s.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	s.startNotifications()
	orders := s.startOrders()
	s.place(10)
	s.awaitCount(9, s.ordersDB, `outbox_messages WHERE status = 'pending' AND attempts > 0`)
	if h := orders.health(t); h.Relay.State != "running" {
		t.Errorf("relay %+v: a queue that is full is no outage", h.Relay)
	}

	if err := ch.QueueUnbind(q.Name, "order.created", s.exchange, nil); err != nil {
		t.Fatal(err)
	}
	s.awaitSettled()
	s.requireAttemptsSay("nacked")
	s.requireClean(exceptions{})
}

// requireUnroutable waits until every one of the events has been returned by
// the broker, and checks that it is pending.
func (s *system) requireUnroutable(orders []placed) {
	s.t.Helper()
	for _, p := range orders {
		testenv.Eventually(s.t, patience, "the broker to return the message", func() bool {
			r := s.record(p.EventID)
			if r.Status != outbox.Pending {
				s.t.Fatalf("event %s is %s; want it pending, as no queue has it", p.EventID, r.Status)
			}
			return r.Attempts > 0
		})
	}
}

// requireAttemptsSay checks that attempts were counted, each for this reason.
func (s *system) requireAttemptsSay(text string) {
	s.t.Helper()
	all := s.attempts()
	if len(all) == 0 {
		s.t.Error("no attempt was counted")
	}
	for _, a := range all {
		if !strings.Contains(a.Error, text) || a.Status != string(outbox.Pending) {
			s.t.Errorf("attempt %+v; want %s", a, text)
		}
	}
}

const otherTopic = "stock.changed"

// bindOther binds a queue to another topic.
func (s *system) bindOther() (queue string) {
	s.t.Helper()
	ch := s.channel()
	if err := ch.ExchangeDeclare(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		s.t.Fatal(err)
	}
	q, err := ch.QueueDeclare(testenv.UniqueName(s.t, otherTopic), true, false, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, otherTopic, s.exchange, false, nil); err != nil {
		s.t.Fatal(err)
	}
	return q.Name
}

// requireFlow checks that messages of the other topic are delivered.
func (s *system) requireFlow(queue string) {
	s.t.Helper()
	var msgs []outbox.Message
	for range 5 {
		msgs = append(msgs, outbox.NewMessage(otherTopic, []byte(`{}`)))
	}
	s.enqueue(msgs...)
	ch := s.channel()
	testenv.Eventually(s.t, patience, "the other topic to be delivered", func() bool {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		return q.Messages == len(msgs)
	})
}

// enqueue commits messages that belong to no order.
func (s *system) enqueue(msgs ...outbox.Message) {
	s.t.Helper()
	if err := s.commit(msgs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) commit(msgs ...outbox.Message) error {
	tx, err := s.ordersDB.BeginTxx(s.t.Context(), nil)
	if err != nil {
		return err
	}
	if err := s.outbox.Enqueue(s.t.Context(), tx, msgs...); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// deleteQueue deletes the consumer's queue with its messages.
func (s *system) deleteQueue() {
	s.t.Helper()
	if _, err := s.channel().QueueDelete(s.queue, false, false, false); err != nil {
		s.t.Fatal(err)
	}
}
