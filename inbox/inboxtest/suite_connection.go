package inboxtest

import (
	"errors"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

func (s *suite) closesAndSettlesOn() {
	s.publish(2)
	source, deliveries, stop := s.consume(10)
	mine, other := s.receive(deliveries), s.receive(deliveries)
	stop()
	timeout := time.After(waitLimit)
	for open := true; open; {
		var extra inbox.Delivery
		select {
		case extra, open = <-deliveries:
			if open {
				s.settle(source, inbox.Settlement{Delivery: extra, Action: inbox.ActionRequeue})
			}
		case <-timeout:
			s.t.Fatalf("the channel is still open %v after the context has ended", waitLimit)
		}
	}
	s.ack(source, mine)
	s.settle(source, inbox.Settlement{Delivery: other, Action: inbox.ActionRequeue})

	next, more, _ := s.consume(10)
	d := s.receive(more)
	if d.Message.ID != other.Message.ID {
		s.t.Errorf("the next instance got %s, want %s which was requeued", d.Message.ID, other.Message.ID)
	}
	s.ack(next, d)
	s.wantDepth(0)
}

func (s *suite) instancesShare() {
	one, fromOne, _ := s.consume(1)
	two, fromTwo, _ := s.consume(1)
	s.publish(2)
	a, b := s.receive(fromOne), s.receive(fromTwo)
	if a.Message.ID == b.Message.ID {
		s.t.Fatalf("both instances got %s", a.Message.ID)
	}
	s.ack(one, a)
	s.ack(two, b)
	s.wantDepth(0)
}

func (s *suite) disconnect() {
	if s.Disconnect == nil {
		s.t.Skip("the harness cannot cut connections")
	}
	want := s.publish(1)[0]
	source, deliveries, _ := s.consume(10)
	before := s.receive(deliveries)
	s.Disconnect(s.t)
	again := s.receive(deliveries)
	s.wantMessage(again, want)
	if !again.Redelivered || again.Failures != 0 {
		s.t.Errorf("redelivered %t, failures %d; want true, 0", again.Redelivered, again.Failures)
	}
	for _, action := range []inbox.Action{inbox.ActionAck, inbox.ActionRequeue} {
		outcomes := source.Settle(s.t.Context(), []inbox.Settlement{{Delivery: before, Action: action}})
		if !errors.Is(outcomes[0], inbox.ErrStale) {
			s.t.Errorf("settling the lost delivery: %v, want ErrStale", outcomes[0])
		}
	}
	s.ack(source, again)
	s.wantDepth(0)
}

func (s *suite) startsWithoutBroker() {
	if s.StopBroker == nil || s.StartBroker == nil {
		s.t.Skip("the harness cannot stop the broker")
	}
	want := s.publish(1)[0]
	s.StopBroker(s.t)
	source := s.Open(s.t)
	type consumed struct {
		deliveries <-chan inbox.Delivery
		err        error
	}
	result := make(chan consumed, 1)
	go func() {
		deliveries, err := source.Consume(s.t.Context(), 10)
		result <- consumed{deliveries, err}
	}()
	s.StartBroker(s.t)
	select {
	case c := <-result:
		if c.err != nil {
			s.t.Fatalf("Consume: %v", c.err)
		}
		d := s.receive(c.deliveries)
		s.wantMessage(d, want)
		s.ack(source, d)
	case <-time.After(waitLimit):
		s.t.Fatalf("Consume has not returned %v after the broker came back", waitLimit)
	}
	s.wantDepth(0)
}

func (s *suite) survivesRestart() {
	if s.StopBroker == nil || s.StartBroker == nil {
		s.t.Skip("the harness cannot stop the broker")
	}
	s.publish(2)
	source, deliveries, _ := s.consume(1)
	s.ack(source, s.receive(deliveries))
	held := s.receive(deliveries)
	s.wantDepth(1)
	s.StopBroker(s.t)
	s.StartBroker(s.t)
	again := s.receive(deliveries)
	if again.Message.ID != held.Message.ID {
		s.t.Fatalf("after the restart came %s, want %s", again.Message.ID, held.Message.ID)
	}
	s.ack(source, again)
	s.wantDepth(0)
}
