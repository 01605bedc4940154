package faults_test

import (
	"bytes"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F15: one message is delivered forty times, to three instances at once.
func TestF15CopiesToSeveralInstances(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	var instances []*service
	for range 3 {
		instances = append(instances, s.startNotifications(func(c *stdlib.NotificationsConfig) {
			c.Consumer.Prefetch, c.Consumer.BatchSize = 2, 1 // each gets its share of the copies
		}))
	}
	order := s.place(1)
	const copies = 40
	msgs := make([]outbox.Message, copies)
	for i := range msgs {
		msgs[i] = s.record(order[0].EventID).Message
	}

	// While the notifications table is locked, the first handler cannot finish,
	// and the others wait for its claim on the event id.
	release := lock(t, s.notificationsDB, `LOCK TABLE notifications IN EXCLUSIVE MODE`)
	s.publish(msgs...)
	testenv.Eventually(t, patience, "one instance to write and two to wait for its claim", func() bool {
		return s.waiting(s.notificationsDB, "relation") == 1 && s.waiting(s.notificationsDB, "transactionid") == 2
	})
	release()

	total := func() (applied, duplicates int) {
		for _, svc := range instances {
			h := svc.health(t).Consumer
			applied, duplicates = applied+h.Applied, duplicates+h.Duplicates
		}
		return applied, duplicates
	}
	testenv.Eventually(t, patience, "every copy to be handled", func() bool {
		applied, duplicates := total()
		return applied+duplicates >= copies
	})
	if applied, duplicates := total(); applied != 1 || duplicates != copies-1 {
		t.Errorf("%d applied and %d known as duplicates, want 1 and %d", applied, duplicates, copies-1)
	}
	s.startOrders() // publishes another copy
	s.requireClean(exceptions{})
}

// lock runs a statement that locks, in a transaction that lasts until release.
func lock(t *testing.T, db *sqlx.DB, statement string) (release func()) {
	t.Helper()
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting counts the sessions of this database that wait for a lock of this
// kind.
func (s *system) waiting(db *sqlx.DB, kind string) int {
	s.t.Helper()
	return s.count(db, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1`, kind)
}

// F22: everything is replayed, twice, during live traffic.
func TestF22ReplayDuringLiveTraffic(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	orders := s.startOrders()
	old := s.place(200)
	s.awaitSettled()
	load := startLoad(t, orders.url, 1)
	load.await(10)
	for range 2 {
		s.deliverAgain(old)
	}
	load.await(10)
	answered := load.end()
	wantDuplicates(t, consumer, 2*len(old))
	s.requireOrders(answered)
	s.requireClean(exceptions{})
}

// F23: an event id arrives again with another payload, before and after the
// original is applied.
func TestF23SameIDOtherPayload(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	s.startOrders()
	order := s.place(1)
	s.awaitSettled()
	forged := s.record(order[0].EventID).Message
	forged.Payload = bytes.Replace(forged.Payload, []byte("77.5"), []byte("1"), 1)
	s.publish(forged)
	testenv.Eventually(t, patience, "a dead letter", func() bool { return consumer.health(t).Consumer.DeadLettered == 1 })

	letter := s.deadLetters()[order[0].EventID]
	if letter.Headers["pulse-reason"] != "conflict" || !bytes.Equal(letter.Body, forged.Payload) {
		t.Errorf("dead letter %v %s, want the forged payload as a conflict", letter.Headers, letter.Body)
	}
	s.deliverAgain(order) // the original is a duplicate as before
	wantDuplicates(t, consumer, 1)
	if n := s.count(s.notificationsDB, `notifications WHERE amount_cents = 7750`); n != 1 {
		t.Errorf("%d notifications of the true amount, want 1", n)
	}
	s.requireClean(exceptions{conflicts: []string{order[0].EventID}})
}
