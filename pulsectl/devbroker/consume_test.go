package devbroker_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprint(i)
	}
	return bodies
}

func TestPrefetch(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, numbered(20)...)
		deliveries := s.consume(q, 5)
		var got []amqp.Delivery
		for i := range 5 {
			got = append(got, s.nextBody(deliveries, fmt.Sprint(i)))
		}
		s.nothing(deliveries)
		s.must(got[0].Ack(false))
		s.nextBody(deliveries, "5")
		s.nothing(deliveries)
		s.must(got[4].Ack(true))
		for i := range 4 {
			s.nextBody(deliveries, fmt.Sprint(6+i))
		}
		s.nothing(deliveries)
	})
}

func TestPrefetchGlobal(t *testing.T) {
	onBrokers(t, func(s *session) {
		a, b := s.queue(nil), s.queue(nil)
		s.must(s.ch.Qos(3, 0, true))
		fromA, err := s.ch.Consume(a, "", false, false, false, false, nil)
		s.must(err)
		fromB, err := s.ch.Consume(b, "", false, false, false, false, nil)
		s.must(err)
		s.send(a, "1", "2")
		first := s.nextBody(fromA, "1")
		s.nextBody(fromA, "2")
		s.send(b, "3", "4")
		s.nextBody(fromB, "3")
		s.nothing(fromB)
		s.must(first.Ack(false)) // of the other queue
		s.nextBody(fromB, "4")
		s.must(s.ch.Qos(0, 0, true))
		s.send(a, "5")
		s.nextBody(fromA, "5")
	})
}

func TestAutomaticAcknowledgement(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Qos(1, 0, false))
		deliveries, err := s.ch.Consume(q, "", true, false, false, false, nil)
		s.must(err)
		s.send(q, numbered(50)...)
		for i := range 50 {
			s.nextBody(deliveries, fmt.Sprint(i))
		}
		s.must(s.ch.Close())
		s.ch = s.channel()
		if n := s.ready(q); n != 0 {
			s.Fatalf("%d messages came back", n)
		}
	})
}

func TestNackRequeuesAtHead(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "0", "1", "2")
		deliveries := s.consume(q, 1)
		d := s.nextBody(deliveries, "0")
		if d.Redelivered {
			s.Error("redelivered the first time")
		}
		s.must(d.Nack(false, true))
		d = s.nextBody(deliveries, "0")
		if !d.Redelivered {
			s.Error("not flagged after nack")
		}
		s.must(d.Reject(true))
		d = s.nextBody(deliveries, "0")
		if !d.Redelivered {
			s.Error("not flagged after reject")
		}
		s.must(d.Ack(false))
		if d = s.nextBody(deliveries, "1"); d.Redelivered {
			s.Error("flagged the first time")
		}
	})
}

func TestNackMultipleKeepsOrder(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, numbered(10)...)
		deliveries := s.consume(q, 10)
		var last amqp.Delivery
		for range 10 {
			last = s.next(deliveries)
		}
		s.must(last.Nack(true, true))
		for i := range 10 {
			if d := s.nextBody(deliveries, fmt.Sprint(i)); !d.Redelivered {
				s.Error("not flagged")
			}
		}
	})
}

func TestRecover(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "0", "1", "2")
		deliveries, err := s.ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		s.must(s.nextBody(deliveries, "0").Ack(false))
		s.nextBody(deliveries, "1")
		s.nextBody(deliveries, "2")
		//lint:ignore SA1019 deprecated, and still a part of the protocol
		s.must(s.ch.Recover(true))
		for _, body := range []string{"1", "2"} {
			d := s.nextBody(deliveries, body)
			if !d.Redelivered {
				s.Error("not flagged")
			}
			s.must(d.Ack(false))
		}
	})
}

func TestGet(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "0", "1", "2")
		s.eventuallyReady(q, 3)
		d, ok, err := s.ch.Get(q, false)
		s.must(err)
		if !ok || string(d.Body) != "0" || d.MessageCount != 2 || d.Redelivered || d.RoutingKey != q || d.Exchange != "" {
			s.Fatalf("got %v %+v", ok, d)
		}
		s.must(d.Nack(false, true))
		s.eventually("the message to come back", func() bool {
			d, ok, err = s.ch.Get(q, false)
			s.must(err)
			return string(d.Body) == "0"
		})
		if !d.Redelivered || d.MessageCount != 2 {
			s.Fatalf("got %+v", d)
		}
		s.must(d.Ack(false))
		if got := s.bodies(q); !slices.Equal(got, []string{"1", "2"}) {
			s.Fatalf("left %q", got)
		}
	})
}

func TestChannelCloseRequeues(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "0", "1", "2")
		ch := s.channel()
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		for range 3 {
			s.next(deliveries)
		}
		s.must(ch.Close())
		again := s.consume(q, 0)
		for _, body := range []string{"0", "1", "2"} {
			if d := s.nextBody(again, body); !d.Redelivered {
				s.Error("not flagged")
			}
		}
	})
}

func TestConnectionLossRequeues(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "x")
		var raw *net.TCPConn
		conn := s.dial(amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
			nc, err := net.Dial(network, addr)
			raw, _ = nc.(*net.TCPConn)
			return nc, err
		}})
		ch, err := conn.Channel()
		s.must(err)
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		s.next(deliveries)
		s.must(raw.SetLinger(0))
		s.must(raw.Close())
		if d := s.next(s.consume(q, 0)); !d.Redelivered {
			s.Error("not flagged")
		}
	})
}

func TestConsumersRoundRobin(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		a, b := s.consume(q, 1), s.consume(q, 1)
		s.send(q, numbered(20)...)
		turns := map[string]int{}
		for range 20 {
			select {
			case d := <-a:
				turns["a"]++
				s.must(d.Ack(false))
			case d := <-b:
				turns["b"]++
				s.must(d.Ack(false))
			case <-time.After(patience):
				s.Fatalf("stuck after %v", turns)
			}
		}
		if turns["a"] == 0 || turns["b"] == 0 {
			s.Fatalf("one starved: %v", turns)
		}
	})
}

func TestConsumerPriorities(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.must(s.ch.Qos(2, 0, false))
		low, err := s.ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		high, err := s.ch.Consume(q, "", false, false, false, false, amqp.Table{"x-priority": int32(5)})
		s.must(err)
		for i := range 2 {
			s.send(q, fmt.Sprint(i))
			s.nextBody(high, fmt.Sprint(i))
		}
		s.send(q, "2") // the other one is at its prefetch
		s.nextBody(low, "2")
	})
}

func TestConsumerCancel(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		deliveries, err := s.ch.Consume(q, "me", false, false, false, false, nil)
		s.must(err)
		s.send(q, "0")
		d := s.nextBody(deliveries, "0")
		s.must(s.ch.Cancel("me", false))
		if _, open := <-deliveries; open {
			s.Fatal("delivery after cancellation")
		}
		s.send(q, "1")
		s.eventuallyReady(q, 1)
		s.must(d.Ack(false)) // the channel may still acknowledge it
		s.must(s.ch.Close())
		s.ch = s.channel()
		if got := s.bodies(q); !slices.Equal(got, []string{"1"}) {
			s.Fatalf("left %q", got)
		}
	})
}

func TestQueueDeleteCancelsConsumers(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		cancelled := s.ch.NotifyCancel(make(chan string, 1))
		deliveries, err := s.ch.Consume(q, "cx", false, false, false, false, nil)
		s.must(err)
		s.send(q, "unfinished")
		d := s.next(deliveries)
		_, err = s.other().ch.QueueDelete(q, false, false, false)
		s.must(err)
		if tag := await(s, "cancellation", cancelled); tag != "cx" {
			s.Fatalf("cancelled %q", tag)
		}
		s.must(d.Ack(false)) // of a message that is gone
		if _, err := s.ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			s.Fatalf("the channel did not survive: %v", err)
		}
	})
}

func TestAckTwiceClosesChannel(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "x")
		closed := s.ch.NotifyClose(make(chan *amqp.Error, 1))
		deliveries, err := s.ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		d := s.next(deliveries)
		s.must(d.Ack(false))
		s.must(d.Ack(false))
		if e := await(s, "channel to close", closed); e.Code != amqp.PreconditionFailed || e.Reason != "PRECONDITION_FAILED - unknown delivery tag 1" {
			s.Fatalf("closed with %v", e)
		}
	})
}

func TestSingleActiveConsumer(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, kind := range []string{"classic", "quorum"} {
			q := s.queue(amqp.Table{"x-single-active-consumer": true, "x-queue-type": kind})
			if kind == "classic" {
				_, err := s.channel().Consume(q, "", false, true, false, false, nil)
				if code(err) != amqp.AccessRefused {
					s.Errorf("exclusive consumer: %v", err)
				}
			}
			active := s.channel()
			first, err := active.Consume(q, "", false, false, false, false, nil)
			s.must(err)
			second := s.consume(q, 0)
			s.send(q, "0", "1")
			s.nextBody(first, "0")
			s.nextBody(first, "1")
			s.nothing(second)
			s.must(active.Close())
			s.nextBody(second, "0")
			s.nextBody(second, "1")
		}
	})
}

// TestDeliveryCount: a quorum queue says how often it delivered a message before, on request even if it did not.
func TestDeliveryCount(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(amqp.Table{"x-queue-type": "quorum"})
		s.send(q, "got")
		s.eventuallyReady(q, 1)
		for i := range 3 {
			d, ok, err := s.ch.Get(q, false)
			s.must(err)
			if count, is := d.Headers["x-delivery-count"].(int64); !ok || !is || count != int64(i) {
				t.Errorf("get %d: %v", i, d.Headers)
			}
			s.must(d.Nack(false, true))
			s.eventuallyReady(q, 1)
		}
		_, err := s.ch.QueuePurge(q, false)
		s.must(err)
		s.send(q, "consumed")
		deliveries := s.consume(q, 1)
		for i := range 3 {
			d := s.nextBody(deliveries, "consumed")
			if count, is := d.Headers["x-delivery-count"].(int64); is != (i > 0) || count != int64(i) {
				t.Errorf("delivery %d: %v", i, d.Headers)
			}
			s.must(d.Nack(false, true))
		}
	})
}
