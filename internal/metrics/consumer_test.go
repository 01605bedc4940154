package metrics_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// queue is a source that says where it consumes.
type queue struct{ *inboxtest.Queue }

func (queue) Endpoint() inbox.Endpoint {
	return inbox.Endpoint{System: "rabbitmq", Destination: "orders", Address: "mq.example", Port: 5672}
}

func newInbox(t *testing.T) *inbox.Inbox {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "inbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in
}

// startConsumer runs a consumer.
func startConsumer(t *testing.T, m *meters, s inbox.Source, h inbox.Handler) (stop func()) {
	t.Helper()
	c, err := inbox.NewConsumer(newInbox(t), s, h, inbox.ConsumerConfig{
		MeterProvider: m, Logger: quiet, Workers: 1, MaxAttempts: 2, Backoff: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c.Run)
}

func event(id, eventType string) inbox.Message {
	return inbox.Message{ID: id, Topic: "order.created", Type: eventType, Payload: []byte("{}"), OccurredAt: time.Now().Add(-time.Hour)}
}

func TestConsumer(t *testing.T) {
	m, q := newMeters(t), queue{inboxtest.NewQueue()}
	q.Publish(event("1", "Good"), event("2", "Good"), event("1", "Good"), event("2", "Other"), event("3", "Bad"), event("4", "Slow"))
	inside, leave := make(chan struct{}), make(chan struct{})
	slow := 0
	startConsumer(t, m, q, func(_ context.Context, _ inbox.Tx, msg inbox.Message) error {
		switch msg.Type {
		case "Bad":
			return errors.New("bad")
		case "Slow":
			if slow++; slow == 1 {
				return inbox.Retry(errors.New("later"), time.Millisecond)
			}
		case "Held":
			close(inside)
			<-leave
		}
		return nil
	})
	const consumer = "messaging.consumer.group.name=notifications,messaging.destination.name=orders"
	const at = "messaging.system=rabbitmq,server.address=mq.example,server.port=5672"
	m.await(t, map[string]float64{
		"pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=applied}":                               3,
		"pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=duplicate}":                             1,
		"pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=conflict}":                              1,
		"pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=retry}":                                 2, // one of each
		"pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=dead_letter}":                           1,
		"messaging.client.consumed.messages{" + consumer + ",messaging.operation.name=receive," + at + "}": 8,
		"pulse.inbox.attempts{" + consumer + "}":                                                           3,
		"pulse.inbox.critical_time{" + consumer + "}":                                                      3,
		"pulse.inbox.held{" + consumer + "}":                                                               0,
	})
	found := m.collect(t)
	if p := points(found["pulse.inbox.attempts"])[0]; p.sum != 4 { // 1, 1 and 2
		t.Errorf("attempts at success: %v in all", p.sum)
	}
	if p := points(found["pulse.inbox.critical_time"])[0]; p.sum < 3*time.Hour.Seconds() || p.sum > 3*(time.Hour+patience).Seconds() {
		t.Errorf("critical time: %v s of three messages that are an hour old", p.sum)
	}
	series := m.series(t)
	if n := series["messaging.process.duration{error.type=*errors.errorString,"+consumer+",messaging.operation.name=process,"+at+"}"]; n < 3 {
		t.Errorf("%v transactions failed by the handler's error, in %v", n, series)
	}
	if n := series["messaging.process.duration{"+consumer+",messaging.operation.name=process,"+at+"}"]; n < 2 {
		t.Errorf("%v transactions committed, in %v", n, series)
	}
	if n := series["messaging.client.operation.duration{"+consumer+",messaging.operation.name=settle,messaging.operation.type=settle,"+at+"}"]; n < 2 {
		t.Errorf("%v calls of Settle, in %v", n, series)
	}

	q.Publish(event("5", "Held"), event("6", "Good"))
	<-inside
	m.await(t, map[string]float64{"pulse.inbox.held{" + consumer + "}": 2})
	q.Disconnect()
	close(leave)
	m.await(t, map[string]float64{"pulse.inbox.held{" + consumer + "}": 0, "pulse.inbox.outcomes{" + consumer + ",pulse.inbox.outcome=stale}": 2})
}

// A settlement that the source refuses is measured as failed.
func TestConsumerWithoutBroker(t *testing.T) {
	m, q := newMeters(t), queue{inboxtest.NewQueue()}
	q.RefuseSettlements(errors.New("refused"))
	q.Publish(event("1", "Good"))
	startConsumer(t, m, q, func(context.Context, inbox.Tx, inbox.Message) error { return nil })
	testenv.Eventually(t, patience, "a failed settlement and one that was carried out", func() bool {
		failed, done := 0.0, 0.0
		for _, p := range points(m.collect(t)["messaging.client.operation.duration"]) {
			if v, ok := p.attributes.Value("error.type"); ok && v.AsString() == "unsettled" {
				failed += p.value
			} else {
				done += p.value
			}
		}
		return failed == 1 && done == 1
	})
}
