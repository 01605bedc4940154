package devbroker_test

import (
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestRoutingTopic(t *testing.T) {
	onBrokers(t, func(s *session) {
		x := s.exchange("topic", nil)
		for _, c := range []struct {
			pattern string
			keys    map[string]bool
		}{
			{"orders.*.created", map[string]bool{"orders.eu.created": true, "orders.created": false, "orders.a.b.created": false}},
			{"orders.#", map[string]bool{"orders": true, "orders.a": true, "orders.a.b": true, "order.a": false}},
			{"#.created", map[string]bool{"created": true, "a.b.created": true, "a.created.b": false}},
			{"a.#.z", map[string]bool{"a.z": true, "a.b.c.z": true, "a.b": false, "a.z.z": true}},
			{"#.b.#", map[string]bool{"b": true, "a.b.c": true, "a.c": false, "b.b": true}},
			{"*", map[string]bool{"x": true, "x.y": false, "": false}},
			{"#", map[string]bool{"": true, "x.y": true}},
			{"a..b", map[string]bool{"a..b": true, "a.b": false}},
			{"a.*.b", map[string]bool{"a..b": true}},
			{"", map[string]bool{"": true, "a": false}},
		} {
			q := s.queue(nil)
			s.bind(q, c.pattern, x, nil)
			want := []string{}
			for key, matches := range c.keys {
				s.publish(x, key, persistent(key))
				if matches {
					want = append(want, key)
				}
			}
			s.eventuallyReady(q, len(want))
			got := s.bodies(q)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				s.Errorf("pattern %q took %q, want %q", c.pattern, got, want)
			}
			s.must(s.ch.QueueUnbind(q, c.pattern, x, nil))
		}
	})
}

func TestRoutingSeveralBindings(t *testing.T) {
	onBrokers(t, func(s *session) {
		x, q := s.exchange("topic", nil), s.queue(nil)
		s.bind(q, "d.#", x, nil)
		s.bind(q, "d.*", x, nil)
		s.bind(q, "d.*", x, nil) // the same again
		s.must(s.ch.Confirm(false))
		s.confirmed(x, "d.x", persistent("1"))
		if n := s.ready(q); n != 1 {
			s.Fatalf("%d copies", n)
		}
		s.must(s.ch.QueueUnbind(q, "d.*", x, nil))
		s.must(s.ch.QueueUnbind(q, "d.#", x, nil))
		s.confirmed(x, "d.x", persistent("2"))
		if n := s.ready(q); n != 1 {
			s.Fatalf("%d messages although nothing is bound", n)
		}
	})
}

func TestRoutingDirectAndFanout(t *testing.T) {
	onBrokers(t, func(s *session) {
		direct, fanout, q := s.exchange("direct", nil), s.exchange("fanout", nil), s.queue(nil)
		s.bind(q, "k", direct, nil)
		s.bind(q, "", fanout, nil)
		s.publish(direct, "k", persistent("direct"))
		s.publish(direct, "K", persistent("nobody"))
		s.publish(fanout, "whatever", persistent("fanout"))
		s.eventuallyReady(q, 2)
		if got := s.bodies(q); !slices.Equal(got, []string{"direct", "fanout"}) {
			s.Fatalf("got %q", got)
		}
	})
}

func TestRoutingHeaders(t *testing.T) {
	onBrokers(t, func(s *session) {
		x := s.exchange("headers", nil)
		s.must(s.ch.Confirm(false))
		for _, c := range []struct {
			name    string
			binding amqp.Table
			headers amqp.Table
			matches bool
		}{
			{"all of them", amqp.Table{"x-match": "all", "a": "1", "b": "2"}, amqp.Table{"a": "1", "b": "2", "c": "3"}, true},
			{"all, one missing", amqp.Table{"x-match": "all", "a": "1", "b": "2"}, amqp.Table{"a": "1"}, false},
			{"all is the default", amqp.Table{"a": "1", "b": "2"}, amqp.Table{"a": "1"}, false},
			{"any", amqp.Table{"x-match": "any", "a": "1", "b": "2"}, amqp.Table{"b": "2"}, true},
			{"any, none", amqp.Table{"x-match": "any", "a": "1"}, amqp.Table{"a": "2"}, false},
			{"presence", amqp.Table{"a": nil}, amqp.Table{"a": "whatever"}, true},
			{"width of integers", amqp.Table{"a": int32(5)}, amqp.Table{"a": int64(5)}, true},
			{"text is no number", amqp.Table{"a": int32(5)}, amqp.Table{"a": "5"}, false},
			{"x- does not count", amqp.Table{"a": "1", "x-b": "2"}, amqp.Table{"a": "1"}, true},
			{"x- counts", amqp.Table{"x-match": "all-with-x", "a": "1", "x-b": "2"}, amqp.Table{"a": "1"}, false},
			{"any x-", amqp.Table{"x-match": "any-with-x", "x-b": "2"}, amqp.Table{"x-b": "2"}, true},
			{"no headers", amqp.Table{"a": "1"}, nil, false},
			{"no arguments", amqp.Table{}, nil, true},
		} {
			q := s.queue(nil)
			s.bind(q, "", x, c.binding)
			p := persistent("x")
			p.Headers = c.headers
			s.confirmed(x, "", p)
			if got := s.ready(q) == 1; got != c.matches {
				s.Errorf("%s: %v with headers %v: matched %v", c.name, c.binding, c.headers, got)
			}
			s.must(s.ch.QueueUnbind(q, "", x, c.binding))
		}
	})
}

func TestRoutingExchangeBindings(t *testing.T) {
	onBrokers(t, func(s *session) {
		a, b, q := s.exchange("topic", nil), s.exchange("direct", nil), s.queue(nil)
		s.must(s.ch.ExchangeBind(b, "x.#", a, false, nil))
		s.must(s.ch.ExchangeBind(a, "#", b, false, nil)) // a cycle
		s.bind(q, "x.y", b, nil)
		s.must(s.ch.Confirm(false))
		s.confirmed(a, "x.y", persistent("through"))
		s.confirmed(a, "y.x", persistent("not bound"))
		if got := s.bodies(q); !slices.Equal(got, []string{"through"}) {
			s.Fatalf("got %q", got)
		}
		s.must(s.ch.ExchangeUnbind(b, "x.#", a, false, nil))
		s.confirmed(a, "x.y", persistent("unbound"))
		if got := s.bodies(q); len(got) != 0 {
			s.Fatalf("got %q after unbinding", got)
		}
	})
}

func TestRoutingAlternateExchange(t *testing.T) {
	onBrokers(t, func(s *session) {
		fallback := s.exchange("fanout", nil)
		x := s.exchange("direct", amqp.Table{"alternate-exchange": fallback})
		q, rest := s.queue(nil), s.queue(nil)
		s.bind(q, "known", x, nil)
		s.bind(rest, "", fallback, nil)
		s.must(s.ch.Confirm(false))
		returns := s.ch.NotifyReturn(make(chan amqp.Return, 1))
		s.confirmed(x, "known", persistent("1"))
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), x, "unknown", true, false, persistent("2"))
		s.must(err)
		await(s, "confirm", d.Done())
		if a, b := s.bodies(q), s.bodies(rest); !slices.Equal(a, []string{"1"}) || !slices.Equal(b, []string{"2"}) {
			s.Fatalf("got %q and %q", a, b)
		}
		select {
		case r := <-returns:
			s.Fatalf("returned %q although the alternate exchange took it", r.Body)
		default:
		}
	})
}

func TestRoutingCarbonCopies(t *testing.T) {
	onBrokers(t, func(s *session) {
		x := s.exchange("direct", nil)
		to, cc, bcc := s.queue(nil), s.queue(nil), s.queue(nil)
		s.bind(to, "to", x, nil)
		s.bind(cc, "cc", x, nil)
		s.bind(bcc, "bcc", x, nil)
		p := persistent("copied")
		p.Headers = amqp.Table{"CC": []any{"cc", "to"}, "BCC": []any{"bcc"}, "keep": "me"}
		s.publish(x, "to", p)
		for _, q := range []string{to, cc, bcc} {
			d := s.get(q)
			if d.RoutingKey != "to" || d.Headers["BCC"] != nil || d.Headers["CC"] == nil || d.Headers["keep"] != "me" {
				s.Errorf("got key %q, headers %v", d.RoutingKey, d.Headers)
			}
			if n := s.ready(q); n != 0 {
				s.Errorf("%d copies too many", n)
			}
		}
	})
}

func TestExchangeAutoDelete(t *testing.T) {
	onBrokers(t, func(s *session) {
		x, q := s.name(), s.queue(nil)
		s.must(s.ch.ExchangeDeclare(x, "direct", false, true, false, false, nil))
		s.bind(q, "k", x, nil)
		s.must(s.ch.ExchangeDeclarePassive(x, "direct", false, true, false, false, nil))
		s.must(s.ch.QueueUnbind(q, "k", x, nil))
		if err := s.channel().ExchangeDeclarePassive(x, "direct", false, true, false, false, nil); code(err) != amqp.NotFound {
			s.Fatalf("still there after the last binding: %v", err)
		}
	})
}

func TestExchangeDeleteRemovesBindings(t *testing.T) {
	onBrokers(t, func(s *session) {
		x, sink, q := s.exchange("fanout", nil), s.exchange("fanout", nil), s.queue(nil)
		s.bind(q, "", sink, nil)
		s.must(s.ch.ExchangeBind(sink, "", x, false, nil))
		s.must(s.ch.ExchangeDelete(sink, false, false))
		s.must(s.ch.Confirm(false))
		s.confirmed(x, "", persistent("lost"))
		s.must(s.ch.ExchangeDelete(x, true, false)) // unused: its binding went with its destination
		if n := s.ready(q); n != 0 {
			s.Fatalf("%d messages through a deleted exchange", n)
		}
	})
}
