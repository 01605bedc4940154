package faults_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// consume is the role of a process that consumes like the notifications
// service.
func (a assignment) consume(ctx context.Context) error {
	db, err := postgres.Open(postgres.Config{URL: a.NotificationsURL, Name: "child"})
	if err != nil {
		return err
	}
	in, err := inbox.New(db, consumerName)
	if err != nil {
		return err
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL: a.AMQPURL, Exchange: a.Exchange, Queue: a.Queue, Topics: []string{notifications.OrderCreatedTopic},
		RetryDelays: retryDelays, Consumer: consumerName, Logger: childLogger(),
	})
	if err != nil {
		return err
	}
	cfg := consumerConfig()
	cfg.Logger = childLogger()
	consumer, err := inbox.NewConsumer(in, unacknowledging{source, a.Point}, a.handle, cfg)
	if err != nil {
		return err
	}
	tell("consuming")
	return errors.Join(consumer.Run(ctx), source.Close(), db.Close())
}

func (a assignment) handle(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	if err := notify(ctx, tx, msg); err != nil {
		return err
	}
	if msg.ID == a.Culprit {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {}
	}
	if a.Point == inHandler {
		reached(a.Point, []string{msg.ID})
	}
	return nil
}

// notify is the effect of the notifications service.
func notify(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	event, err := notifications.DecodeOrderCreated(msg)
	if err != nil {
		return err
	}
	n := notifications.For(event)
	_, err = tx.ExecContext(ctx, `
		INSERT INTO notifications (id, order_id, event_id, customer_id, amount_cents, correlation_id)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		n.ID, n.OrderID, n.EventID, n.CustomerID, n.Amount, n.CorrelationID)
	return err
}

// unacknowledging is a source that stops before the first acknowledgement.
type unacknowledging struct {
	inbox.Source
	at point
}

func (u unacknowledging) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	if u.at == beforeAck {
		ids := make([]string, len(settlements))
		for i, st := range settlements {
			ids[i] = st.Delivery.Message.ID
		}
		reached(u.at, ids)
	}
	return u.Source.Settle(ctx, settlements)
}

// F16: the effects are committed, and the process dies before it acknowledges.
func TestF16ConsumerKilledBetweenCommitAndAck(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	child := s.startChild(assignment{Role: roleConsumer, Point: beforeAck})
	child.await("consuming")
	s.startOrders()
	orders := s.place(20)
	settling := child.await(string(beforeAck))
	child.kill()
	// A commit that was already sent is still executed.
	testenv.Eventually(t, patience, "the database to notice", func() bool {
		return s.count(s.notificationsDB, `pg_stat_activity WHERE datname = current_database() AND application_name = 'child'`) == 0
	})
	committed := s.tally(s.notificationsDB, `SELECT event_id, 1 FROM processed_events`)
	for _, id := range settling {
		if committed[id] == 0 || s.count(s.notificationsDB, `notifications WHERE event_id = $1`, id) != 1 {
			t.Errorf("event %s was about to be acknowledged before its effect was committed", id)
		}
	}

	consumer := s.startNotifications()
	s.awaitSettled()
	wantDuplicates(t, consumer, len(committed))
	if applied := consumer.health(t).Consumer.Applied; applied != len(orders)-len(committed) {
		t.Errorf("%d applied after the restart, want the %d that were not", applied, len(orders)-len(committed))
	}
	s.requireClean(exceptions{})
}

// F17: the process dies inside the handler's transaction, after the effect was
// written and before the commit.
func TestF17ConsumerKilledInTransaction(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	child := s.startChild(assignment{Role: roleConsumer, Point: inHandler})
	child.await("consuming")
	s.startOrders()
	s.place(20)
	handling := child.await(string(inHandler))
	child.kill()
	if n := s.count(s.notificationsDB, `processed_events WHERE event_id = $1`, handling[0]); n != 0 {
		t.Errorf("the inbox has the event that was being handled")
	}
	if n := s.count(s.notificationsDB, `notifications`); n != 0 {
		t.Errorf("%d notifications, want none: no transaction was finished", n)
	}

	consumer := s.startNotifications()
	s.awaitSettled()
	wantDuplicates(t, consumer, 0)
	s.requireClean(exceptions{})
}

// F18: one message kills the process each time it is handled.
func TestF18MessageKillsProcess(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications().stop() // declares the queue
	s.startOrders()
	orders := s.place(20)
	culprit := orders[7].EventID
	s.awaitCount(len(orders), s.ordersDB, `outbox_messages WHERE status = 'published'`)

	var starts []int // recorded for the culprit, after each crash
	for {
		child := s.startChild(assignment{Role: roleConsumer, Culprit: culprit})
		child.await("consuming")
		testenv.Eventually(t, patience, "a crash, or the culprit among the dead letters", func() bool {
			select {
			case <-child.ended:
				return true
			default:
				return s.depths().DeadLettered == 1 && s.count(s.notificationsDB, `notifications`) == len(orders)-1
			}
		})
		if s.depths().DeadLettered == 1 {
			child.signal(syscall.SIGTERM)
			child.requireExit()
			break
		}
		noted := s.tally(s.notificationsDB, `SELECT event_id, started FROM inbox_attempts`)
		starts = append(starts, noted[culprit])
		if len(starts) > 10 {
			t.Fatalf("it is still killing the process; starts recorded: %v", starts)
		}
	}
	t.Logf("starts recorded after each crash: %v", starts)
	if len(starts) < 2 || !slices.IsSorted(starts) || len(slices.Compact(slices.Clone(starts))) != len(starts) {
		t.Errorf("starts recorded after each crash: %v; want an increasing number", starts)
	}
	if letters := s.deadLetters(); letters[culprit].Headers["pulse-reason"] != "crash-loop" {
		t.Errorf("dead letters %v; want the culprit as a crash loop", slices.Collect(maps.Keys(letters)))
	}
	// A crash may leave two copies of a message that was being published again.
	s.startNotifications()
	s.requireClean(exceptions{aside: []string{culprit}})
}
