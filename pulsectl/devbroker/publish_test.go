package devbroker_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// code returns the AMQP code of an error, 0 if it has none.
func code(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestConfirmsEveryPublish(t *testing.T) {
	onBrokers(t, func(s *session) {
		const messages, outstanding = 5000, 256
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		confirms := s.ch.NotifyPublish(make(chan amqp.Confirmation, messages))
		var inFlight sync.WaitGroup
		room := make(chan struct{}, outstanding)
		for i := range messages {
			room <- struct{}{}
			d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", q, true, false, persistent(fmt.Sprint(i)))
			s.must(err)
			inFlight.Go(func() {
				d.Wait()
				<-room
			})
		}
		inFlight.Wait()
		for tag := uint64(1); tag <= messages; tag++ {
			if c := await(s, "confirm", confirms); !c.Ack || c.DeliveryTag != tag {
				s.Fatalf("confirm %+v, want an ack of %d", c, tag)
			}
		}
		s.eventuallyReady(q, messages)
	})
}

func TestConfirmsOnManyChannels(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		var publishers sync.WaitGroup
		for range 8 {
			ch := s.channel()
			s.must(ch.Confirm(false))
			publishers.Go(func() {
				var all []*amqp.DeferredConfirmation
				for range 500 {
					d, err := ch.PublishWithDeferredConfirmWithContext(s.Context(), "", q, false, false, persistent("x"))
					if err != nil {
						s.Error(err)
						return
					}
					all = append(all, d)
				}
				for _, d := range all {
					if ok, err := d.WaitContext(s.Context()); err != nil || !ok {
						s.Errorf("confirm %v, %v", ok, err)
					}
				}
			})
		}
		publishers.Wait()
		s.eventuallyReady(q, 8*500)
	})
}

func TestConfirmsTransientAndPersistent(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		confirms := s.ch.NotifyPublish(make(chan amqp.Confirmation, 600))
		for i := range 600 {
			s.publish("", q, amqp.Publishing{DeliveryMode: uint8(i % 3), Body: []byte("x")})
		}
		for tag := uint64(1); tag <= 600; tag++ {
			if c := await(s, "confirm", confirms); !c.Ack || c.DeliveryTag != tag {
				s.Fatalf("confirm %+v, want an ack of %d", c, tag)
			}
		}
	})
}

func TestMandatoryReturnedBeforeConfirm(t *testing.T) {
	onBrokers(t, func(s *session) {
		x := s.exchange("topic", nil)
		s.must(s.ch.Confirm(false))
		returns := s.ch.NotifyReturn(make(chan amqp.Return, 1))
		p := persistent("hello")
		p.MessageId, p.Headers = "mid-1", amqp.Table{"h": "v"}
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), x, "no.route", true, false, p)
		s.must(err)
		await(s, "confirm", d.Done())
		if !d.Acked() {
			s.Error("a returned message was nacked")
		}
		r := await(s, "return", returns)
		if r.ReplyCode != 312 || r.ReplyText != "NO_ROUTE" || r.Exchange != x || r.RoutingKey != "no.route" ||
			r.MessageId != "mid-1" || string(r.Body) != "hello" || r.Headers["h"] != "v" {
			s.Errorf("returned %+v", r)
		}
		if !s.confirmed(x, "no.route", p) {
			s.Error("unroutable and not mandatory: nacked")
		}
	})
}

func TestMandatoryRouted(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		returns := s.ch.NotifyReturn(make(chan amqp.Return, 1))
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", q, true, false, persistent("x"))
		s.must(err)
		await(s, "confirm", d.Done())
		select {
		case r := <-returns:
			s.Fatalf("returned %q", r.Body)
		case <-time.After(quietly):
		}
	})
}

func TestPublishPropertiesRoundTrip(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		at := time.Unix(1700000000, 0)
		headers := amqp.Table{
			"string": "s", "int64": int64(1 << 40), "int32": int32(-5), "int16": int16(-3), "int8": int8(-1), "byte": byte(200),
			"bool": true, "double": 1.5, "float": float32(0.25), "bytes": []byte{1, 2, 3}, "time": at,
			"table": amqp.Table{"x": "y", "deep": amqp.Table{"n": int32(1)}}, "array": []any{"a", int32(1), nil},
			"nothing": nil, "decimal": amqp.Decimal{Scale: 2, Value: 314},
		}
		p := amqp.Publishing{
			ContentType: "application/json", ContentEncoding: "utf8", DeliveryMode: 2, Priority: 3, CorrelationId: "cid",
			ReplyTo: "rt", Expiration: "60000", MessageId: "mid", Timestamp: at, Type: "ty", UserId: "guest", AppId: "app",
			Headers: headers, Body: []byte("{}"),
		}
		s.publish("", q, p)
		d := s.get(q)
		got := amqp.Publishing{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
			CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
			Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId, AppId: d.AppId, Headers: d.Headers, Body: d.Body,
		}
		for _, key := range slices.Sorted(maps.Keys(headers)) {
			if have, want := fmt.Sprintf("%T %v", got.Headers[key], got.Headers[key]), fmt.Sprintf("%T %v", headers[key], headers[key]); have != want {
				s.Errorf("header %s came back as %s, was %s", key, have, want)
			}
		}
		got.Headers, p.Headers = nil, nil
		if have, want := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", p); have != want {
			s.Errorf("came back as\n%s, was\n%s", have, want)
		}
	})
}

func TestPublishBodySizes(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		for _, size := range []int{0, 1, 131064, 131065, 3 << 20} {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(i * 7)
			}
			if !s.confirmed("", q, amqp.Publishing{DeliveryMode: 2, Body: body}) {
				s.Fatalf("size %d: nacked", size)
			}
			if d := s.get(q); !bytes.Equal(d.Body, body) {
				s.Fatalf("size %d: came back with %d bytes", size, len(d.Body))
			}
		}
	})
}

func TestPublishSmallFrames(t *testing.T) {
	onBrokers(t, func(s *session) {
		s.conn = s.dial(amqp.Config{FrameSize: 4096})
		s.ch = s.channel()
		q := s.queue(nil)
		s.send(q, string(bytes.Repeat([]byte("0123456789"), 2000)))
		if d := s.get(q); len(d.Body) != 20000 {
			s.Fatalf("came back with %d bytes", len(d.Body))
		}
	})
}

func TestTimeToLiveExpires(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		p := persistent("short-lived")
		p.Expiration = "20"
		s.confirmed("", q, p)
		s.confirmed("", q, persistent("long-lived"))
		s.eventuallyReady(q, 1)
		if d := s.get(q); string(d.Body) != "long-lived" {
			s.Fatalf("got %q", d.Body)
		}
	})
}

func TestTimeToLiveZero(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Confirm(false))
		now := persistent("now or never")
		now.Expiration = "0"
		s.confirmed("", q, now)
		s.eventuallyReady(q, 0)
		deliveries := s.consume(q, 1)
		s.publish("", q, now) // a consumer is waiting for it
		s.must(s.nextBody(deliveries, "now or never").Ack(false))
	})
}
