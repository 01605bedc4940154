package faults_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F34: handlers send statements that would end the transaction with the claims
// of their batch, and ignore whether that succeeded.
func TestF34HandlersEndTransaction(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	scripts := map[string]string{ // by event id
		"commits":     `COMMIT`,
		"rolls-back":  `ROLLBACK`,
		"script":      `BEGIN; UPDATE notifications SET amount_cents = 0; COMMIT;`,
		"two-phases":  `PREPARE TRANSACTION 'culprit'`,
		"aborts":      `SELECT 1/0`,
		"deletes-all": `DELETE FROM processed_events`,
	}
	var culprits []string
	for customer, script := range scripts {
		p := s.placeFor(1, customer)[0]
		scripts[p.EventID] = script
		culprits = append(culprits, p.EventID)
		s.place(5)
	}
	consumer := s.startConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if err := notify(ctx, tx, msg); err != nil {
			return err
		}
		if script := scripts[msg.ID]; script != "" {
			_, _ = tx.ExecContext(ctx, script)
		}
		return nil
	}, consumerConfig())
	s.startOrders()
	s.awaitSettled()
	testenv.Eventually(t, patience, "every culprit to be a dead letter", func() bool { return consumer.Health().DeadLettered == int64(len(culprits)) })
	letters := s.deadLetters()
	for _, id := range culprits {
		if last, _ := letters[id].Headers["pulse-last-error"].(string); !strings.HasPrefix(last, "handler ") && !strings.HasPrefix(last, "verify: handler ") {
			t.Errorf("%s: the dead letter says %q, want what the handler did", scripts[id], last)
		}
	}
	s.requireClean(exceptions{aside: culprits})
}

// F35: handlers set a schema, a role and settings for their tenants. Other
// messages of the batch are not affected.
func TestF35HandlersChangeSession(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.exec(s.notificationsDB, `CREATE SCHEMA tenant_a; CREATE TABLE tenant_a.notifications (LIKE public.notifications INCLUDING ALL);
		CREATE TABLE tenant_a.processed_events (LIKE public.processed_events INCLUDING ALL);
		CREATE FUNCTION public.become(tenant text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', tenant, false) $$`)
	changes := map[string]string{ // by event id
		"local":    `SET LOCAL search_path TO tenant_a`,
		"session":  `SET search_path TO tenant_a`,
		"function": `SELECT public.become('tenant_a')`,
	}
	tenants := 0
	for customer, change := range changes {
		s.place(4)
		changes[s.placeFor(1, customer)[0].EventID] = change
		tenants++
		s.place(4)
	}
	consumer := s.startConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if change := changes[msg.ID]; change != "" {
			if _, err := tx.ExecContext(ctx, change); err != nil {
				return err
			}
		}
		return notify(ctx, tx, msg)
	}, consumerConfig())
	s.startOrders()
	s.awaitSettled()
	if n := s.count(s.notificationsDB, `tenant_a.notifications`); n != tenants {
		t.Errorf("%d notifications in the tenant's schema, want its own %d", n, tenants)
	}
	if n := s.count(s.notificationsDB, `tenant_a.processed_events`); n != 0 {
		t.Errorf("%d events are recorded in the tenant's schema", n)
	}
	if h := consumer.Health(); h.DeadLettered+h.Retried > 0 {
		t.Errorf("health %+v: an attempt was counted", h)
	}
	// The reconciliation counts public notifications.
	s.exec(s.notificationsDB, `INSERT INTO public.notifications SELECT * FROM tenant_a.notifications`)
	s.requireClean(exceptions{})
}

// F38: a consumer's machine is gone while it has open claims, and PostgreSQL
// does not know. Messages that it never got are applied meanwhile by another
// consumer.
func TestF38ConsumerGoneClaimsLocked(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	u, err := url.Parse(s.notificationsURL)
	if err != nil {
		t.Fatal(err)
	}
	route := testenv.NewProxy(t, u.Host)
	child := s.startChild(assignment{Role: roleConsumer, Point: inHandler, NotificationsURL: route.Through(t, s.notificationsURL)})
	child.await("consuming")
	s.startOrders()
	old := s.place(8)
	child.await(string(inHandler))
	route.Freeze()
	child.kill() // the broker notices, the database does not

	consumer := s.startNotifications()
	fresh := s.place(40)
	applied := func(orders []placed) (n int) {
		for _, p := range orders {
			n += s.count(s.notificationsDB, `notifications WHERE event_id = $1`, p.EventID)
		}
		return n
	}
	testenv.Eventually(t, patience, "the other messages to be applied", func() bool { return applied(fresh) == len(fresh) })
	if n := applied(old); n == len(old) {
		t.Error("no event was locked: the fault did not happen")
	}
	testenv.Eventually(t, patience, "the consumer to say that events are locked", func() bool {
		return consumer.health(t).Consumer.State == "degraded"
	})
	route.Thaw() // the database learns that the connection has ended
	s.awaitSettled()
	if h := consumer.health(t).Consumer; h.DeadLettered > 0 {
		t.Errorf("%+v: locked messages counted an attempt", h)
	}
	s.requireClean(exceptions{})
}

// F40: an event id arrives again as another event, and as itself in every
// possible way.
func TestF40SameIDOtherTypeOrTopic(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	seen := calls{attempts: map[string][]int{}}
	orders := s.place(3)
	consumer := s.startConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		seen.handled(msg)
		if msg.ID == orders[1].EventID && msg.Attempt == 1 {
			return context.DeadlineExceeded // comes again by the retry queue
		}
		return notify(ctx, tx, msg)
	}, consumerConfig())
	s.startOrders()
	s.awaitSettled()
	s.deliverAgain(orders) // replays are no conflicts, also after a retry
	testenv.Eventually(t, patience, "the replays to be recognised", func() bool { return consumer.Health().Duplicates >= int64(len(orders)) })
	if n := consumer.Health().DeadLettered; n != 0 {
		t.Errorf("%d dead letters after a replay", n)
	}
	other := s.record(orders[0].EventID).Message
	other.Type = "OrderCancelled"
	s.publish(other)
	testenv.Eventually(t, patience, "a dead letter", func() bool { return consumer.Health().DeadLettered == 1 })
	letter := s.deadLetters()[orders[0].EventID]
	if last, _ := letter.Headers["pulse-last-error"].(string); letter.Headers["pulse-reason"] != "conflict" || !strings.Contains(last, "another type") {
		t.Errorf("dead letter %v, want a conflict in the type", letter.Headers)
	}
	s.requireClean(exceptions{conflicts: []string{orders[0].EventID}})
}
