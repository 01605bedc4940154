package inboxtest

import (
	"errors"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

func (s *suite) delivers() {
	source, deliveries, _ := s.consume(10)
	want := s.publish(1)[0]
	d := s.receive(deliveries)
	s.wantMessage(d, want)
	if d.Failures != 0 || d.Redelivered {
		s.t.Errorf("failures %d, redelivered %t; want a fresh delivery", d.Failures, d.Redelivered)
	}
	s.ack(source, d)
}

func (s *suite) keepsOrder() {
	want := s.publish(30)
	source, deliveries, _ := s.consume(7)
	for _, m := range want {
		d := s.receive(deliveries)
		if d.Message.ID != m.ID {
			s.t.Fatalf("got %s, want %s", d.Message.ID, m.ID)
		}
		s.ack(source, d)
	}
}

func (s *suite) honoursPrefetch() {
	s.publish(5)
	source, deliveries, _ := s.consume(2)
	first, second := s.receive(deliveries), s.receive(deliveries)
	select {
	case d := <-deliveries:
		s.t.Fatalf("prefetch 2, and %s came as the third", d.Message.ID)
	case <-time.After(200 * time.Millisecond): // a source at fault is caught here or not at all
	}
	s.ack(source, first, second)
	s.receive(deliveries)
	s.receive(deliveries)
}

func (s *suite) ackRemoves() {
	s.publish(2)
	source, deliveries, _ := s.consume(10)
	s.ack(source, s.receive(deliveries), s.receive(deliveries))
	s.wantDepth(0)
	if dead := s.DeadLetters(s.t); len(dead) != 0 {
		s.t.Errorf("%d dead letters, want none", len(dead))
	}
}

func (s *suite) requeueReturns() {
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	s.settle(source, inbox.Settlement{Delivery: s.receive(deliveries), Action: inbox.ActionRequeue})
	d := s.receive(deliveries)
	s.wantMessage(d, want)
	if !d.Redelivered || d.Failures != 0 {
		s.t.Errorf("redelivered %t, failures %d; want true, 0", d.Redelivered, d.Failures)
	}
	s.ack(source, d)
	s.wantDepth(0)
}

// requeueWithoutEnd: brokers may limit how often a message comes back; no number
// of stops may reach such a limit.
func (s *suite) requeueWithoutEnd() {
	const often = 30
	want := s.publish(3)
	for range often {
		source, deliveries, stop := s.consume(10)
		first := s.receive(deliveries)
		stop()
		s.settle(source, inbox.Settlement{Delivery: first, Action: inbox.ActionRequeue})
		for d := range deliveries {
			s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
		}
		s.wantDepth(len(want))
	}
	source, deliveries, _ := s.consume(10)
	left := make(map[string]bool)
	for len(left) < len(want) {
		d := s.receive(deliveries)
		if d.Failures != 0 {
			s.t.Errorf("%s has %d failures", d.Message.ID, d.Failures)
		}
		left[d.Message.ID] = true
		s.ack(source, d)
	}
	s.wantDepth(0)
	if dead := s.DeadLetters(s.t); len(dead) != 0 {
		s.t.Errorf("%d dead letters, want none", len(dead))
	}
}

// movedBack: what is moved back has all of its attempts, and its topic.
func (s *suite) movedBack() {
	if s.MoveBack == nil {
		s.t.Skip("the harness cannot move dead letters back")
	}
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	for range 2 {
		for failures := range 2 {
			d := s.receive(deliveries)
			s.wantMessage(d, want)
			if d.Failures != failures {
				s.t.Errorf("failures %d, want %d", d.Failures, failures)
			}
			if failures == 0 {
				s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionRetry, Delay: s.Delay, Reason: inbox.ReasonHandler, Err: errors.New("first")})
			} else {
				s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler, Err: errors.New("second")})
			}
		}
		s.MoveBack(s.t)
	}
	d := s.receive(deliveries)
	s.wantMessage(d, want)
	if d.Failures != 0 {
		s.t.Errorf("failures %d, want 0", d.Failures)
	}
	s.ack(source, d)
	s.wantDepth(0)
}

func (s *suite) retryReturns() {
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	d := s.receive(deliveries)
	for failures := 1; failures <= 2; failures++ {
		retried := time.Now()
		s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionRetry, Delay: s.Delay,
			Reason: inbox.ReasonHandler, Err: errors.New("mail server is full")})
		d = s.receive(deliveries)
		if waited := time.Since(retried); waited < s.Delay {
			s.t.Errorf("came again after %v, want at least %v", waited, s.Delay)
		}
		s.wantMessage(d, want)
		if d.Failures != failures {
			s.t.Errorf("failures %d, want %d", d.Failures, failures)
		}
	}
	s.ack(source, d)
	s.wantDepth(0)
}

func (s *suite) retryUncounted() {
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	s.settle(source, inbox.Settlement{Delivery: s.receive(deliveries), Action: inbox.ActionRetry, Delay: s.Delay,
		Reason: inbox.ReasonHandler, Err: errors.New("mail server is full")})
	for range 2 {
		d := s.receive(deliveries)
		s.wantMessage(d, want)
		if d.Failures != 1 {
			s.t.Errorf("failures %d, want 1", d.Failures)
		}
		s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionRetry, Delay: s.Delay, Uncounted: true,
			Err: errors.New("applied elsewhere just now")})
	}
	s.ack(source, s.receive(deliveries))
	s.wantDepth(0)
}

func (s *suite) deadLetterKeeps() {
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	s.settle(source, inbox.Settlement{Delivery: s.receive(deliveries), Action: inbox.ActionRetry, Delay: s.Delay,
		Reason: inbox.ReasonHandler, Err: errors.New("first")})
	s.settle(source, inbox.Settlement{Delivery: s.receive(deliveries), Action: inbox.ActionDeadLetter,
		Reason: inbox.ReasonContract, Err: errors.New("amount is negative")})
	s.wantDepth(0)
	s.eventually("a dead letter", func() bool { return len(s.DeadLetters(s.t)) == 1 })
	got := s.DeadLetters(s.t)[0]
	if got.ID != want.ID || string(got.Body) != string(want.Payload) || got.Reason != inbox.ReasonContract ||
		got.Attempts != 2 || !strings.Contains(got.LastError, "amount is negative") {
		s.t.Errorf("dead letter %+v", got)
	}
}

func (s *suite) undecodable() {
	const body = "\x00\xff not a message"
	s.PublishUndecodable(s.t, []byte(body))
	source, deliveries, _ := s.consume(10)
	d := s.receive(deliveries)
	if d.Err == nil {
		s.t.Fatalf("decoded as %+v, want Delivery.Err", d.Message)
	}
	s.settle(source, inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonUndecodable, Err: d.Err})
	s.wantDepth(0)
	s.eventually("a dead letter", func() bool { return len(s.DeadLetters(s.t)) == 1 })
	if got := s.DeadLetters(s.t)[0]; string(got.Body) != body || got.Reason != inbox.ReasonUndecodable {
		s.t.Errorf("dead letter %+v", got)
	}
}

// noAction: what was forgotten must not count as an acknowledgement.
func (s *suite) noAction() {
	s.publish(1)
	source, deliveries, _ := s.consume(10)
	d := s.receive(deliveries)
	for _, action := range []inbox.Action{0, inbox.ActionRequeue + 1} {
		err := source.Settle(s.t.Context(), []inbox.Settlement{{Delivery: d, Action: action}})[0]
		if err == nil || errors.Is(err, inbox.ErrStale) {
			s.t.Errorf("%v was settled with %v; want it refused", action, err)
		}
	}
	s.ack(source, d) // still held
	s.wantDepth(0)
}

func (s *suite) mixedSettlements() {
	s.publish(4)
	source, deliveries, _ := s.consume(10)
	var ds [4]inbox.Delivery
	for i := range ds {
		ds[i] = s.receive(deliveries)
	}
	s.settle(source,
		inbox.Settlement{Delivery: ds[0], Action: inbox.ActionAck},
		inbox.Settlement{Delivery: ds[1], Action: inbox.ActionRetry, Delay: s.Delay, Reason: inbox.ReasonHandler, Err: errors.New("later")},
		inbox.Settlement{Delivery: ds[2], Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler, Err: errors.New("never")},
		inbox.Settlement{Delivery: ds[3], Action: inbox.ActionRequeue})
	failures := map[string]int{}
	for range 2 {
		d := s.receive(deliveries)
		failures[d.Message.ID] = d.Failures
		s.ack(source, d)
	}
	if failures["event-001"] != 1 || len(failures) != 2 {
		s.t.Errorf("came again with failures %v; want event-001 with 1 and event-003 with 0", failures)
	}
	s.wantDepth(0)
}
