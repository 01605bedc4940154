package devbroker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func inject(s *session, b *devbroker.Broker, f devbroker.Fault) {
	s.Helper()
	s.must(b.Inject(f))
	active := b.Faults()
	if len(active) != 1 || active[0].Kind != f.Kind || active[0].Delay != f.Delay || active[0].Count != f.Count ||
		time.Since(active[0].Since) > time.Minute {
		s.Fatalf("active: %+v, want %+v", active, f)
	}
}

func faulty(t *testing.T) (*devbroker.Broker, *session) {
	t.Helper()
	b := devbroker.NewTest(t)
	return b, newSession(t, b.URL())
}

// publishN publishes numbered messages and returns their confirms.
func (s *session) publishN(queue string, n int) (all []*amqp.DeferredConfirmation) {
	s.Helper()
	for i := range n {
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", queue, true, false, persistent(fmt.Sprint(i)))
		s.must(err)
		all = append(all, d)
	}
	return all
}

func (s *session) unanswered(all []*amqp.DeferredConfirmation) (n int) {
	for _, d := range all {
		select {
		case <-d.Done():
		default:
			n++
		}
	}
	return n
}

func TestFaultDown(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	s.send(q, "kept")
	s.nextBody(s.consume(q, 1), "kept")
	_, err := s.ch.QueueDeclare("exclusive", false, false, true, false, nil)
	s.must(err)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	addr := b.Addr()

	s.must(b.Down())
	await(t, "the connection to break", closed)
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("still listening")
	}
	if stats := b.Stats(); stats.Connections != 0 || stats.Ready != 1 || stats.Queues != 1 {
		t.Errorf("while down: %+v", stats)
	}
	if active := b.Faults(); len(active) != 1 || active[0].Kind != devbroker.FaultDown {
		t.Errorf("active: %+v", active)
	}
	s.must(b.Down()) // already
	if b.Addr() != addr {
		t.Errorf("address went from %s to %s", addr, b.Addr())
	}

	s.must(b.Up())
	s.must(b.Up()) // already
	s = newSession(t, b.URL())
	if d := s.get(q); string(d.Body) != "kept" || !d.Redelivered || len(b.Faults()) != 0 {
		t.Errorf("after: %q, redelivered %v, faults %v", d.Body, d.Redelivered, b.Faults())
	}

	s.must(b.Inject(devbroker.Fault{Kind: devbroker.FaultDown})) // the same by way of Inject and Clear
	s.must(b.Clear())
	newSession(t, b.URL())
}

func TestFaultDownPortInUse(t *testing.T) {
	b, s := faulty(t)
	s.must(b.Down())
	squatter, err := net.Listen("tcp", b.Addr())
	s.must(err)
	if err := b.Up(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("up: %v", err)
	}
	s.must(squatter.Close())
	s.must(b.Clear(devbroker.FaultDown))
	newSession(t, b.URL())
}

func TestDropConnections(t *testing.T) {
	b, s := faulty(t)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	if n := b.DropConnections(); n != 1 {
		t.Errorf("dropped %d", n)
	}
	await(t, "the connection to break", closed)
	newSession(t, b.URL())
}

func TestRestartNotifiesClients(t *testing.T) {
	b, s := faulty(t)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	s.must(b.Restart(t.Context()))
	if e := await(t, "the connection to be closed", closed); e == nil || e.Code != amqp.ConnectionForced {
		t.Fatalf("closed with %v", e)
	}
	newSession(t, b.URL())
}

func TestFaultBlockPublishers(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	blocked := s.conn.NotifyBlocked(make(chan amqp.Blocking, 2))
	s.must(s.ch.Confirm(false))
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultBlockPublishers})
	all := s.publishN(q, 1)
	if e := await(t, "connection.blocked", blocked); !e.Active || e.Reason == "" {
		t.Fatalf("notified of %+v", e)
	}
	if info, _ := b.Queue(q); info.Ready != 0 || s.unanswered(all) != 1 {
		t.Error("published although blocked")
	}
	newSession(t, b.URL()).ready(q) // others are served
	s.must(b.Clear(devbroker.FaultBlockPublishers))
	await(t, "the confirm", all[0].Done())
	if e := await(t, "connection.unblocked", blocked); e.Active {
		t.Fatalf("notified of %+v", e)
	}
}

func TestFaultBlockPublishersShutdown(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	blocked := s.conn.NotifyBlocked(make(chan amqp.Blocking, 2))
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultBlockPublishers})
	s.send(q, "x")
	await(t, "connection.blocked", blocked)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	s.must(b.Close())
	if e := await(t, "the connection to be closed", closed); e == nil || e.Code != amqp.ConnectionForced {
		t.Fatalf("closed with %v", e)
	}
}

func TestFaultWithholdConfirms(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultWithholdConfirms})
	all := s.publishN(q, 10)
	s.eventuallyReady(q, 10) // stored, but not confirmed
	if n := s.unanswered(all); n != 10 {
		t.Fatalf("%d of 10 unanswered", n)
	}
	s.must(b.Clear())
	for _, d := range all {
		if await(t, "confirm", d.Done()); !d.Acked() {
			t.Error("nacked")
		}
	}
}

func TestFaultDelayConfirms(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	const delay = 150 * time.Millisecond
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultDelayConfirms, Delay: delay, Count: 5})
	begun := time.Now()
	all := s.publishN(q, 10)
	await(t, "a confirm that is not delayed", all[9].Done())
	if n := s.unanswered(all); n != 5 && time.Since(begun) < delay {
		t.Errorf("%d of the first 5 unanswered", n)
	}
	await(t, "a confirm that is delayed", all[4].Done())
	if took := time.Since(begun); took < delay {
		t.Errorf("delayed by %v", took)
	}
	if active := b.Faults(); len(active) != 0 {
		t.Errorf("still active: %+v", active)
	}
}

func TestFaultDropConfirms(t *testing.T) {
	b, s := start(t, t.TempDir()) // where confirms come in batches
	q := s.queue(nil)
	s.must(s.ch.Confirm(false))
	s.confirmed("", q, persistent("before"))
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultDropConfirms, Count: 3})
	lost := s.publishN(q, 3)
	rest := s.publishN(q, 20)
	for _, d := range rest {
		await(t, "a confirm after those that were dropped", d.Done())
	}
	if n := s.unanswered(lost); n != 3 {
		t.Errorf("%d of 3 unanswered: a later confirm spoke for them", n)
	}
	if n := s.ready(q); n != 24 {
		t.Errorf("%d messages stored", n)
	}
}

func TestFaultDuplicateDeliveries(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultDuplicateDeliveries, Count: 2})
	s.send(q, "0", "1", "2")
	deliveries := s.consume(q, 0)
	tags := map[uint64]bool{}
	for _, body := range []string{"0", "0", "1", "1", "2"} {
		d := s.nextBody(deliveries, body)
		if tags[d.DeliveryTag] = true; d.Redelivered {
			t.Errorf("%q is flagged as redelivered", body)
		}
		s.must(d.Ack(false))
	}
	s.nothing(deliveries)
	if len(tags) != 5 || s.ready(q) != 0 {
		t.Errorf("%d tags, %d left", len(tags), s.ready(q))
	}
}

func TestFaultDelayDeliveries(t *testing.T) {
	b, s := faulty(t)
	q := s.queue(nil)
	const delay = 150 * time.Millisecond
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultDelayDeliveries, Delay: delay})
	deliveries := s.consume(q, 0)
	begun := time.Now()
	s.send(q, "0", "1")
	s.nextBody(deliveries, "0")
	if took := time.Since(begun); took < delay {
		t.Errorf("delayed by %v", took)
	}
	s.nextBody(deliveries, "1")
	inject(s, b, devbroker.Fault{Kind: devbroker.FaultDelayDeliveries, Delay: time.Hour})
	s.send(q, "2")
	s.eventuallyReady(q, 1)
	s.must(b.Clear(devbroker.FaultDelayDeliveries))
	s.nextBody(deliveries, "2") // at once
}

func TestInjectErrors(t *testing.T) {
	b := devbroker.NewTest(t)
	for _, c := range []struct {
		fault     devbroker.Fault
		complaint string
	}{
		{devbroker.Fault{Kind: "nonsense"}, `"nonsense": there is no such fault`},
		{devbroker.Fault{Kind: devbroker.FaultDelayConfirms}, "Delay is 0s"},
		{devbroker.Fault{Kind: devbroker.FaultDropConfirms, Delay: time.Second}, "Delay has no meaning"},
		{devbroker.Fault{Kind: devbroker.FaultDropConfirms, Count: -1}, "Count is -1: it cannot be negative"},
		{devbroker.Fault{Kind: devbroker.FaultDown, Count: 1}, "Count is 1: it has no meaning"},
		{devbroker.Fault{Kind: devbroker.FaultDown, Queue: "q"}, "Queue has no meaning"},
		{devbroker.Fault{Kind: devbroker.FaultStallQueues, RoutingKey: "k"}, "RoutingKey has no meaning"},
	} {
		if err := b.Inject(c.fault); err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%+v: %v", c.fault, err)
		}
	}
	if len(b.Faults()) != 0 {
		t.Errorf("active: %v", b.Faults())
	}
}
