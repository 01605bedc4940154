package devbroker_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

const replyTo = "amq.rabbitmq.reply-to"

// requester subscribes a channel to its replies and returns them with the name that leads to it.
func (s *session) requester(queue string) (*amqp.Channel, <-chan amqp.Delivery, string) {
	s.Helper()
	ch := s.channel()
	replies, err := ch.Consume(replyTo, "", true, false, false, false, nil)
	s.must(err)
	s.must(ch.PublishWithContext(s.Context(), "", queue, false, false, amqp.Publishing{ReplyTo: replyTo, CorrelationId: "7", Body: []byte("request")}))
	request := s.get(queue)
	if !strings.HasPrefix(request.ReplyTo, replyTo+".") || request.CorrelationId != "7" || string(request.Body) != "request" {
		s.Fatalf("requested with %+v", request)
	}
	return ch, replies, request.ReplyTo
}

func TestDirectReplyTo(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		ch, replies, name := s.requester(q)
		other := s.other()
		for _, body := range []string{"one", "two"} {
			other.publish("", name, amqp.Publishing{CorrelationId: "7", Body: []byte(body)})
			d := s.nextBody(replies, body)
			if d.CorrelationId != "7" || d.DeliveryTag != 1 || d.Exchange != "" || d.RoutingKey != name || d.Redelivered {
				t.Errorf("%s: %+v", body, d)
			}
		}
		// A second requester has a name of its own, and each gets its own replies.
		_, others, second := s.requester(q)
		if second == name {
			t.Fatalf("both are called %s", name)
		}
		other.publish("", second, persistent("three"))
		s.nextBody(others, "three")
		s.nothing(replies)

		// Every declaration of such a name is a passive one.
		for _, known := range []string{replyTo, name} {
			if state, err := other.ch.QueueDeclare(known, true, false, false, false, nil); err != nil || state.Name != known || state.Consumers != 1 || state.Messages != 0 {
				t.Errorf("declaring %s: %+v, %v", known, state, err)
			}
		}
		s.must(ch.Close())
		if _, err := s.other().ch.QueueDeclarePassive(name, false, false, false, false, nil); code(err) != amqp.NotFound || !strings.Contains(err.Error(), "no queue '"+name+"' in vhost '") {
			t.Errorf("declaring a name that leads nowhere: %v", err)
		}
	})
}

// TestDirectReplyToNobody: replies to a requester that is gone, or never existed, are dropped, confirmed and, if
// mandatory, returned, as every reply is, since no queue is involved.
func TestDirectReplyToNobody(t *testing.T) {
	onBrokers(t, func(s *session) {
		ch, replies, name := s.requester(s.queue(nil))
		s.must(s.ch.Confirm(false))
		returns := s.ch.NotifyReturn(make(chan amqp.Return, 1))
		send := func(mandatory bool) *amqp.DeferredConfirmation {
			d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", name, mandatory, false, persistent("x"))
			s.must(err)
			return d
		}
		for i, want := range []bool{true, false} { // while the requester is there, and afterwards
			d := send(true)
			if r := await(t, "the return", returns); r.ReplyCode != amqp.NoRoute || r.RoutingKey != name {
				t.Errorf("%d: returned with %+v", i, r)
			}
			if !s.acked(d) || !s.acked(send(false)) {
				t.Errorf("%d: nacked", i)
			}
			if want {
				s.nextBody(replies, "x")
				s.nextBody(replies, "x")
				s.must(ch.Close())
			}
		}
		name = replyTo + ".nobody"
		if !s.acked(send(false)) {
			t.Error("nacked")
		}
	})
}

var replyRefusals = []refusal{
	{"replies with acknowledgements", func(s *session, _ string) error {
		_, err := s.ch.Consume(replyTo, "", false, false, false, false, nil)
		return err
	}, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", false},
	{"replies twice", func(s *session, _ string) error {
		_, err := s.ch.Consume(replyTo, "a", true, false, false, false, nil)
		s.must(err)
		_, err = s.ch.Consume(replyTo, "b", true, false, false, false, nil)
		return err
	}, 406, "PRECONDITION_FAILED - reply consumer already set", false},
	{"replies anew", func(s *session, _ string) error {
		_, err := s.ch.Consume(replyTo, "a", true, false, false, false, nil)
		s.must(err)
		s.must(s.ch.Cancel("a", false))
		_, err = s.ch.Consume(replyTo, "a", true, false, false, false, nil)
		return err
	}, 0, "", false},
	{"replies under a tag in use", func(s *session, q string) error {
		_, err := s.ch.Consume(q, "t", true, false, false, false, nil)
		s.must(err)
		_, err = s.ch.Consume(replyTo, "t", true, false, false, false, nil)
		return err
	}, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", true},
	{"a request without replies", publishing("", false, amqp.Publishing{ReplyTo: replyTo}), 406, "PRECONDITION_FAILED - fast reply consumer does not exist", false},
	{"a request with a name of its own", publishing("", false, amqp.Publishing{ReplyTo: replyTo + ".x"}), 0, "", false},
}

func TestDirectReplyToErrors(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, r := range replyRefusals {
			r.check(s.other(), s.queue(nil))
		}
	})
}
