package faults_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F13: a transaction that has inserted stays open while others commit, for
// longer than the relay's Grace.
func TestF13LongTransaction(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications()
	s.startOrders(func(c *stdlib.OrdersConfig) { c.Relay.Grace = 100 * time.Millisecond })
	s.place(10)

	// The commit of this customer's order waits for a lock that the test holds.
	s.exec(s.ordersDB, `
		CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM pg_advisory_xact_lock(13);
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
			WHEN (NEW.customer_id = 'slow') EXECUTE FUNCTION linger()`)
	release := lock(t, s.ordersDB, `SELECT pg_advisory_xact_lock(13)`)
	answer := make(chan placed, 1)
	go func() {
		defer close(answer)
		p, err := s.order("slow")
		if err != nil {
			t.Error(err)
		}
		answer <- p
	}()
	testenv.Eventually(t, patience, "the slow order to wait for its commit", func() bool { return s.waiting(s.ordersDB, "advisory") == 1 })

	// Several rounds are published meanwhile, until the relay's grace is over.
	const rounds = 5
	for round := range rounds {
		s.place(10)
		s.awaitCount(10*(round+2), s.ordersDB, `outbox_messages WHERE status = 'published'`)
		s.awaitCount(1, s.ordersDB, `(SELECT max(created_at) AS newest FROM outbox_messages) m WHERE newest < clock_timestamp() - interval '300 ms'`)
	}
	if n := s.count(s.ordersDB, `outbox_messages`); n != 10*(rounds+1) {
		t.Fatalf("%d rows, want %d: the open transaction shows", n, 10*(rounds+1))
	}
	release()
	slow := <-answer
	s.awaitCount(1, s.notificationsDB, `notifications WHERE event_id = $1`, slow.EventID)
	if newest := s.count(s.ordersDB, `outbox_messages WHERE seq > (SELECT seq FROM outbox_messages WHERE id = $1)`, slow.EventID); newest != 10*rounds {
		t.Errorf("%d rows were given a later place, want %d", newest, 10*rounds)
	}
	s.requireClean(exceptions{})
}

// Two relays on one outbox share the work, publish nothing twice in normal
// operation, and keep the order of each key.
func TestG6RelaysShareWork(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	tap := s.startTap()
	consumer := s.startNotifications()
	both := []*service{s.startOrders(), s.startOrders()}
	testenv.Eventually(t, patience, "each relay to hold half of the buckets", func() bool {
		return s.count(s.ordersDB, `(SELECT owner FROM outbox_leases WHERE owner <> '' GROUP BY owner HAVING count(*) = 32) o`) == 2
	})

	const accounts, changes = 40, 25
	var producers sync.WaitGroup
	for account := range accounts {
		producers.Go(func() { // one for each key: it locks its aggregate
			for change := range changes {
				msg := outbox.NewMessage("account.changed", fmt.Append(nil, change))
				msg.Key = fmt.Sprint("account-", account)
				if err := s.commit(msg); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	placed := s.place(200)
	producers.Wait()
	total := accounts*changes + len(placed)
	s.awaitCount(total, s.ordersDB, `outbox_messages WHERE status = 'published'`)
	tap.await(total)
	for _, svc := range both {
		if svc.health(t).Relay.Published == 0 {
			t.Error("one of the relays has published nothing")
		}
	}

	due := map[string]int{} // by key
	for _, d := range tap.all() {
		if d.RoutingKey != "account.changed" {
			continue
		}
		key, _ := d.Headers["pulse-key"].(string)
		if string(d.Body) != fmt.Sprint(due[key]) {
			t.Fatalf("%s: change %s was published when %d was due", key, d.Body, due[key])
		}
		due[key]++
	}
	if n := len(tap.all()); n != total {
		t.Errorf("%d messages on the wire, want %d", n, total)
	}
	tap.requireCopies(placed, func(string) int { return 1 })
	s.requireNoAttempts()
	s.awaitSettled()
	wantDuplicates(t, consumer, 0)
	s.requireClean(exceptions{})
}
