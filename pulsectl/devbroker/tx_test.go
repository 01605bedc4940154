package devbroker_test

import (
	"slices"
	"strconv"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// onDisk runs a test with a broker that keeps everything in memory, with one that has a data directory, and with
// RabbitMQ.
func onDisk(t *testing.T, test func(*session)) {
	t.Run("data directory", func(t *testing.T) {
		t.Parallel()
		test(newSession(t, devbroker.NewTest(t, func(c *devbroker.Config) { c.DataDir = t.TempDir() }).URL()))
	})
	onBrokers(t, test)
}

func TestTransactions(t *testing.T) {
	onDisk(t, func(s *session) {
		q := s.queue(nil)
		tx := s.channel()
		s.must(tx.Tx())
		s.must(tx.Tx()) // already
		send := func(body string) {
			s.must(tx.PublishWithContext(s.Context(), "", q, false, false, persistent(body)))
		}
		send("rolled back")
		s.must(tx.TxRollback())
		send("1")
		send("2")
		if n := s.ready(q); n != 0 {
			t.Errorf("%d messages before the commit", n)
		}
		s.must(tx.TxCommit())
		if n := s.ready(q); n != 2 { // at once
			t.Errorf("%d messages after the commit", n)
		}
		s.must(tx.TxCommit()) // nothing
		send("never committed")
		s.must(tx.Close())
		if got := s.bodies(q); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("left %q", got)
		}
	})
}

func TestTransactionAcks(t *testing.T) {
	onDisk(t, func(s *session) {
		q := s.queue(nil)
		tx := s.channel()
		s.must(tx.Tx())
		s.must(tx.Qos(3, 0, false))
		deliveries, err := tx.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		s.send(q, "0", "1", "2", "3", "4", "5")
		got := []amqp.Delivery{s.next(deliveries), s.next(deliveries), s.next(deliveries)}
		s.must(got[0].Ack(false))
		s.must(got[1].Reject(true))
		s.nothing(deliveries) // before the commit they still count
		s.must(tx.TxRollback())
		s.must(got[1].Ack(true)) // 0 and 1, to be settled once more
		s.must(tx.TxCommit())
		s.nextBody(deliveries, "3")
		s.nextBody(deliveries, "4")
		s.must(got[2].Nack(false, true))
		s.must(tx.TxCommit())
		if again := s.nextBody(deliveries, "2"); !again.Redelivered {
			t.Error("2 is not flagged as redelivered")
		}
		s.must(tx.Ack(0, true))
		s.must(tx.Close()) // without a commit: all come back
		if left := s.bodies(q); !slices.Equal(left, []string{"2", "3", "4", "5"}) {
			t.Errorf("left %q", left)
		}
	})
}

func TestTransactionUnroutable(t *testing.T) {
	onBrokers(t, func(s *session) {
		s.must(s.ch.Tx())
		returns := s.ch.NotifyReturn(make(chan amqp.Return, 1))
		s.must(s.ch.PublishWithContext(s.Context(), "", "nowhere", true, false, persistent("x")))
		select {
		case r := <-returns:
			t.Errorf("returned before the commit: %+v", r)
		default:
		}
		s.must(s.ch.TxCommit())
		if r := await(t, "the return", returns); r.ReplyCode != amqp.NoRoute {
			t.Errorf("returned with %+v", r)
		}
	})
}

var txRefusals = []refusal{
	{"confirms in a transaction", func(s *session, _ string) error { s.must(s.ch.Tx()); return s.ch.Confirm(false) },
		406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", false},
	{"a transaction with confirms", func(s *session, _ string) error { s.must(s.ch.Confirm(false)); return s.ch.Tx() },
		406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", false},
	{"commit nothing", func(s *session, _ string) error { return s.ch.TxCommit() },
		406, "PRECONDITION_FAILED - channel is not transactional", false},
	{"roll back nothing", func(s *session, _ string) error { return s.ch.TxRollback() },
		406, "PRECONDITION_FAILED - channel is not transactional", false},
	{"acknowledge twice before the commit", func(s *session, q string) error {
		s.send(q, "x")
		s.must(s.ch.Tx())
		d, err := s.ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		tag := s.next(d).DeliveryTag
		s.must(s.ch.Ack(tag, false))
		return s.ch.Ack(tag, false)
	}, 406, "PRECONDITION_FAILED - unknown delivery tag 1", false},
	{"publish to a missing exchange in a transaction", func(s *session, q string) error {
		s.must(s.ch.Tx())
		return publishing("nope", false, amqp.Publishing{})(s, q)
	}, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", false},
	{"commit to a full queue", func(s *session, _ string) error {
		full := s.queue(amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
		s.must(s.ch.Tx())
		s.send(full, "1", "2", "3")
		return s.ch.TxCommit()
	}, 406, "PRECONDITION_FAILED - partial tx completion", false},
}

func TestTransactionErrors(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, r := range txRefusals {
			r.check(s.other(), s.queue(nil))
		}
	})
}

func TestTransactionSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, dir)
	s := newSession(t, c.url)
	s.queueNamed("q", nil)
	s.must(s.ch.Tx())
	for i := range 20 {
		s.send("q", strconv.Itoa(i))
	}
	s.must(s.ch.TxCommit())
	s.send("q", "not committed")
	c.kill()
	if left := newSession(t, startChild(t, dir).url).bodies("q"); len(left) != 20 || left[19] != "19" {
		t.Errorf("left %q", left)
	}
}
