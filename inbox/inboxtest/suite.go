package inboxtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// SourceHarness is one queue of a broker, empty at first, and what the suite
// does to it from outside. Optional fields may be nil; the tests that need them
// are then skipped.
type SourceHarness struct {
	// Open returns a source on the queue, as one more instance of the service
	// would have it. It is closed by the harness when the test ends.
	Open func(t *testing.T) inbox.Source
	// Publish sends a message to the queue and returns when the broker has it.
	Publish func(t *testing.T, msg inbox.Message)
	// PublishUndecodable sends a body in which no message can be read.
	PublishUndecodable func(t *testing.T, body []byte)
	// Depth is the number of messages in the queue, handed out or not, that
	// are not settled. Messages in retry queues and dead letters do not count.
	Depth func(t *testing.T) int
	// DeadLetters returns the dead letters so far, oldest first, and leaves them
	// there.
	DeadLetters func(t *testing.T) []DeadLetter
	// MoveBack puts the oldest dead letter into the queue again as it is, as an
	// operator does with the tools of the broker. Optional.
	MoveBack func(t *testing.T)
	// Delay is the shortest delay of a retry.
	Delay time.Duration
	// Disconnect cuts the connections of the sources. Optional.
	Disconnect func(t *testing.T)
	// StopBroker and StartBroker stop the broker and start it again with its data.
	// Optional.
	StopBroker, StartBroker func(t *testing.T)
}

// DeadLetter is a dead-lettered message.
type DeadLetter struct {
	ID        string // empty where it could not be decoded
	Body      []byte
	Reason    inbox.Reason
	Attempts  int // failures, the last included
	LastError string
}

// RunSourceSuite tests that a source does what inbox.Consumer relies on.
// newHarness is called once for each test.
func RunSourceSuite(t *testing.T, newHarness func(t *testing.T) SourceHarness) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"delivers what was published", (*suite).delivers},
		{"keeps the order of the queue", (*suite).keepsOrder},
		{"hands out no more than prefetch", (*suite).honoursPrefetch},
		{"ack removes", (*suite).ackRemoves},
		{"a requeued delivery comes back unchanged", (*suite).requeueReturns},
		{"a delivery may be requeued without end", (*suite).requeueWithoutEnd},
		{"a retry comes later, with one failure more", (*suite).retryReturns},
		{"an uncounted retry comes as it was", (*suite).retryUncounted},
		{"a dead letter keeps body, reason and error", (*suite).deadLetterKeeps},
		{"what cannot be decoded is delivered and can be dead-lettered", (*suite).undecodable},
		{"a settlement without an action is refused", (*suite).noAction},
		{"outcomes have the index of their settlement", (*suite).mixedSettlements},
		{"a dead letter that is moved back has all its attempts again", (*suite).movedBack},
		{"settles for many workers at once", (*suite).settlesConcurrently},
		{"closes when its context ends, and settles on", (*suite).closesAndSettlesOn},
		{"instances share the queue", (*suite).instancesShare},
		{"a lost connection redelivers and makes settlements stale", (*suite).disconnect},
		{"starts while the broker is away", (*suite).startsWithoutBroker},
		{"survives a restart of the broker", (*suite).survivesRestart},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{SourceHarness: newHarness(t), t: t})
		})
	}
}

// suite is one test of the suite.
type suite struct {
	SourceHarness
	t *testing.T
}

// consume opens a source and consumes until the returned function is called or
// the test ends.
func (s *suite) consume(prefetch int) (inbox.Source, <-chan inbox.Delivery, context.CancelFunc) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	s.t.Cleanup(stop)
	source := s.Open(s.t)
	deliveries, err := source.Consume(ctx, prefetch)
	if err != nil {
		s.t.Fatalf("Consume: %v", err)
	}
	return source, deliveries, stop
}

// publish sends n messages and returns them.
func (s *suite) publish(n int) []inbox.Message {
	s.t.Helper()
	msgs := make([]inbox.Message, n)
	for i := range msgs {
		id := fmt.Sprintf("event-%03d", i)
		msgs[i] = inbox.Message{
			ID: id, Topic: "order.created", Type: "OrderCreated", Key: "customer-1", Seq: int64(i + 1),
			Payload: []byte(`{"id":"` + id + `"}`), ContentType: "application/json", ContentEncoding: "identity",
			Headers:       map[string]string{"tenant": "acme"},
			CorrelationID: "correlation-1", CausationID: "cause-1", Producer: "orders",
			OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		}
		s.Publish(s.t, msgs[i])
	}
	return msgs
}

// receive takes the next delivery.
func (s *suite) receive(from <-chan inbox.Delivery) inbox.Delivery {
	s.t.Helper()
	select {
	case d, open := <-from:
		if !open {
			s.t.Fatal("the channel was closed before a delivery came")
		}
		return d
	case <-time.After(waitLimit):
		s.t.Fatalf("no delivery within %v", waitLimit)
	}
	return inbox.Delivery{}
}

// settle carries out one settlement that has to work.
func (s *suite) settle(source inbox.Source, settlements ...inbox.Settlement) {
	s.t.Helper()
	outcomes := source.Settle(s.t.Context(), settlements)
	if len(outcomes) != len(settlements) {
		s.t.Fatalf("Settle returned %d outcomes for %d settlements", len(outcomes), len(settlements))
	}
	if err := errors.Join(outcomes...); err != nil {
		s.t.Fatalf("Settle: %v", err)
	}
}

func (s *suite) ack(source inbox.Source, ds ...inbox.Delivery) {
	s.t.Helper()
	settlements := make([]inbox.Settlement, len(ds))
	for i, d := range ds {
		settlements[i] = inbox.Settlement{Delivery: d, Action: inbox.ActionAck}
	}
	s.settle(source, settlements...)
}

func (s *suite) wantDepth(want int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d messages in the queue", want), func() bool { return s.Depth(s.t) == want })
}

func (s *suite) eventually(what string, cond func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(waitLimit); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("timed out after %v waiting for %s", waitLimit, what)
		}
	}
}

func (s *suite) wantMessage(d inbox.Delivery, want inbox.Message) {
	s.t.Helper()
	got := d.Message
	if d.Err != nil {
		s.t.Fatalf("delivery of %s: %v", want.ID, d.Err)
	}
	if got.ID != want.ID || got.Topic != want.Topic || got.Type != want.Type || got.Key != want.Key || got.Seq != want.Seq ||
		string(got.Payload) != string(want.Payload) || got.ContentType != want.ContentType || got.ContentEncoding != want.ContentEncoding ||
		got.Headers["tenant"] != want.Headers["tenant"] || got.CorrelationID != want.CorrelationID ||
		got.CausationID != want.CausationID || got.Producer != want.Producer || !got.OccurredAt.Equal(want.OccurredAt) {
		s.t.Errorf("delivered\n%+v, want\n%+v", got, want)
	}
}

// settlesConcurrently settles each delivery in a goroutine of its own, the last
// ones first.
func (s *suite) settlesConcurrently() {
	const n = 40
	source, deliveries, _ := s.consume(n)
	s.publish(n)
	var ds []inbox.Delivery
	for range n {
		ds = append(ds, s.receive(deliveries))
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := n - 1; i >= 0; i-- {
		wg.Go(func() {
			errs[i] = errors.Join(source.Settle(s.t.Context(), []inbox.Settlement{{Delivery: ds[i], Action: inbox.ActionAck}})...)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
	s.wantDepth(0)
}
