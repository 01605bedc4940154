package faults_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// relay is the role of a process that relays like the orders service.
func (a assignment) relay(ctx context.Context) error {
	db, err := postgres.Open(postgres.Config{URL: a.OrdersURL})
	if err != nil {
		return err
	}
	ob, err := outbox.New(db)
	if err != nil {
		return err
	}
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: a.AMQPURL, Exchange: a.Exchange, Producer: "orders", Logger: childLogger()})
	if err != nil {
		return err
	}
	cfg := relayConfig()
	cfg.LeaseTTL, cfg.Lanes, cfg.Owner, cfg.Logger = a.LeaseTTL, 1, "child", childLogger()
	relay, err := outbox.NewRelay(ob, failing{publisher, a.Point}, cfg)
	if err != nil {
		return err
	}
	if a.Point == staleVerdict {
		go tellSettled(ctx, relay)
	}
	return errors.Join(relay.Run(ctx), publisher.Close(), db.Close())
}

// failing is a publisher that stops at a point.
type failing struct {
	outbox.Publisher
	at point
}

func (f failing) Publish(ctx context.Context, msgs []outbox.Message) []error {
	if f.at == beforePublish {
		reached(f.at, messageIDs(msgs))
	}
	if f.at == staleVerdict {
		tell(string(f.at), messageIDs(msgs)...)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		results := make([]error, len(msgs))
		for i := range results {
			results[i] = outbox.Rejected(errors.New("a result that comes too late"))
		}
		return results
	}
	results := f.Publisher.Publish(ctx, msgs)
	if f.at == afterConfirm && errors.Join(results...) == nil {
		reached(f.at, messageIDs(msgs))
	}
	return results
}

// tellSettled tells the parent how the first write-back ended.
func tellSettled(ctx context.Context, relay *outbox.Relay) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch h := relay.Health(); {
		case h.Fenced > 0:
			tell("fenced")
			return
		case h.Published+h.Failed+h.Dead > 0:
			tell("stored")
			return
		}
	}
}

// F7: the broker has the messages, and the relay dies before the confirms
// arrive.
func TestF7RelayKilledBeforeConfirm(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	proxy := rabbittest.NewProxy(t, s.amqpURL)
	child := s.startChild(assignment{Role: roleRelay, AMQPURL: proxy.URL()})
	warmUp := s.place(1) // opens connection and channel, which needs answers
	s.awaitCount(1, s.ordersDB, `outbox_messages WHERE status = 'published'`)

	proxy.Silence()
	orders := s.place(20)
	s.awaitCount(2, s.notificationsDB, `notifications`)
	early := s.count(s.notificationsDB, `notifications`) - 1 // will be published again
	child.kill()
	twice := tap.seen()
	delete(twice, warmUp[0].EventID)
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending' AND attempts = 0`); n != len(orders) {
		t.Errorf("%d rows are pending without an attempt, want %d", n, len(orders))
	}

	s.startOrders()
	s.awaitSettled()
	// Messages that were on their way to the tap when the process died count as
	// well.
	tap.requireCopies(orders, func(id string) int {
		if twice[id] || len(tap.copies(id)) > 1 {
			return 2
		}
		return 1
	})
	tap.requireCopies(warmUp, func(string) int { return 1 })
	tap.requireKnown(consumer, early)
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// F8: the broker has confirmed, and the relay dies before it writes that back.
func TestF8RelayKilledBeforeWriteBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	orders := s.place(20)
	child := s.startChild(assignment{Role: roleRelay, Point: afterConfirm})
	confirmed := child.await(string(afterConfirm))
	// The effects exist although the rows are still pending.
	s.awaitCount(len(confirmed), s.notificationsDB, `notifications`)
	child.kill()
	for _, id := range confirmed {
		if r := s.record(id); r.Status != outbox.Pending || r.Attempts != 0 {
			t.Errorf("event %s: %s after %d attempts, want pending after none", id, r.Status, r.Attempts)
		}
	}

	s.startOrders()
	tap.requireCopies(orders, func(id string) int {
		if slices.Contains(confirmed, id) {
			return 2
		}
		return 1
	})
	wantDuplicates(t, consumer, len(confirmed))
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// F9: the relay dies with messages that it has read but not published yet.
func TestF9RelayKilledBeforePublishing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	orders := s.place(20)
	child := s.startChild(assignment{Role: roleRelay, Point: beforePublish})
	child.await(string(beforePublish))
	child.kill()
	if n := s.count(s.ordersDB, `outbox_messages WHERE status = 'pending' AND attempts = 0`); n != len(orders) {
		t.Errorf("%d rows are pending without an attempt, want %d", n, len(orders))
	}
	if n := s.count(s.ordersDB, `outbox_leases WHERE owner = 'child'`); n == 0 {
		t.Error("the dead relay holds no lease: there is nothing to take over")
	}

	s.startOrders()
	tap.requireCopies(orders, func(string) int { return 1 })
	wantDuplicates(t, consumer, 0)
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}

// F10: a relay is stopped for several leases before it stores its results, and
// resumes when another has taken over: its results are refused.
func TestF10StoppedRelayResultsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	orders := s.place(20)
	zombie := s.startChild(assignment{Role: roleRelay, Point: staleVerdict})
	zombie.await(string(staleVerdict))
	zombie.stop()

	letGo := s.startHeld()
	testenv.Eventually(t, patience, "another relay to have all leases, and the rows still pending", func() bool {
		return s.count(s.ordersDB, `outbox_leases WHERE owner = 'successor'`) == s.count(s.ordersDB, `outbox_leases`)
	})
	if _, err := zombie.input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	zombie.signal(syscall.SIGCONT)
	zombie.await("fenced")
	s.requireNoAttempts()
	zombie.kill()

	letGo()
	tap.requireCopies(orders, func(string) int { return 1 })
	wantDuplicates(t, consumer, 0)
	s.requireClean(exceptions{})
}

// startHeld runs a relay in this process whose messages wait at the publisher
// until letGo is called.
func (s *system) startHeld() (letGo func()) {
	s.t.Helper()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: s.amqpURL, Exchange: s.exchange, Logger: logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	gate := make(chan struct{})
	cfg := relayConfig()
	cfg.Owner, cfg.Logger = "successor", logger(s.t)
	relay, err := outbox.NewRelay(s.outbox, held{publisher, gate}, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.background(func(ctx context.Context) error { return errors.Join(relay.Run(ctx), publisher.Close()) })
	letGo = sync.OnceFunc(func() { close(gate) })
	s.t.Cleanup(letGo)
	return letGo
}

// held is a publisher that waits before it publishes.
type held struct {
	outbox.Publisher
	gate <-chan struct{}
}

func (h held) Publish(ctx context.Context, msgs []outbox.Message) []error {
	<-h.gate
	return h.Publisher.Publish(ctx, msgs)
}

// wantDuplicates waits until the consumer has recognised that many copies of
// applied messages.
func wantDuplicates(t *testing.T, consumer *service, n int) {
	t.Helper()
	testenv.Eventually(t, patience, "the copies to be recognised", func() bool { return consumer.health(t).Consumer.Duplicates >= n })
	if got := consumer.health(t).Consumer.Duplicates; got != n {
		t.Errorf("%d duplicates, want %d", got, n)
	}
}
