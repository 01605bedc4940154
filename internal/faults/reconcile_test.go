package faults_test

import (
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// reconciliation holds, event by event, what was ordered and what came of it.
type reconciliation struct {
	orders  map[string]string        // the event of each order
	events  map[string]string        // the order of each outbox row, by event
	status  map[string]outbox.Status // of the outbox row, by event
	applied map[string]int           // inbox rows, by event
	effects map[string]int           // notifications, by event
	aside   map[string]int           // dead letters, by event
}

// exceptions are events that are not expected to lead to exactly one
// notification.
type exceptions struct {
	dead  []string // rows that cannot be published
	aside []string // messages that are not applied and are dead letters
	// copies that are dead letters although their event is applied
	conflicts []string
}

// requireClean waits until all messages are processed, stops all services so
// that no message is held, and reconciles both databases. Services started
// outside of the system must have ended before.
func (s *system) requireClean(but exceptions) {
	s.t.Helper()
	s.awaitSettled()
	s.stopAll()
	// Requeued messages, which include copies of applied ones, are consumed as
	// well.
	for s.depths().Ready > 0 {
		s.startNotifications()
		s.awaitSettled()
		s.stopAll()
	}
	l := s.readReconciliation()
	const shown = 10
	for i, problem := range l.problems(but) {
		if i == shown {
			s.t.Error("and more of the like")
			break
		}
		s.t.Error(problem)
	}
	surplus := 0
	for _, n := range l.effects {
		surplus += n - 1
	}
	s.t.Logf("reconciliation: %d orders, %d outbox rows, %d applied, %d dead, %d dead letters, %d surplus effects",
		len(l.orders), len(l.events), len(l.applied), len(but.dead), len(l.aside), surplus)
}

// awaitSettled waits until every row is published or dead, and every published
// event is applied or dead-lettered.
func (s *system) awaitSettled() {
	s.t.Helper()
	testenv.Eventually(s.t, patience, "every row to be published", func() bool {
		return s.count(s.ordersDB, `outbox_messages WHERE status = 'pending'`) == 0
	})
	testenv.Eventually(s.t, patience, "every queue to be empty", func() bool {
		d := s.depths()
		return d.Ready == 0 && d.Retrying == 0
	})
	testenv.Eventually(s.t, patience, "every published event to be applied or dead-lettered", func() bool {
		l := s.readReconciliation()
		for event, status := range l.status {
			if status == outbox.Published && l.applied[event]+l.aside[event] == 0 {
				return false
			}
		}
		return true
	})
}

// depths returns the depths of the queues.
func (s *system) depths() (d rabbitmq.Depths) {
	s.t.Helper()
	s.inspect(func(i *rabbitmq.Inspector) (err error) {
		d, err = i.Depths(s.t.Context())
		return err
	})
	return d
}

func (s *system) inspect(look func(*rabbitmq.Inspector) error) {
	s.t.Helper()
	inspector, err := rabbitmq.OpenInspector(s.t.Context(), rabbitmq.SourceConfig{
		URL: s.amqpURL, Exchange: s.exchange, Queue: s.queue, RetryDelays: retryDelays, Logger: logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer inspector.Close()
	if err := look(inspector); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) readReconciliation() reconciliation {
	s.t.Helper()
	l := reconciliation{orders: map[string]string{}, events: map[string]string{}, status: map[string]outbox.Status{}, aside: map[string]int{}}
	var rows []struct {
		ID, Key string
		Status  outbox.Status
	}
	read := func(query string, args ...any) {
		s.t.Helper()
		rows = nil
		if err := s.ordersDB.SelectContext(s.t.Context(), &rows, query, args...); err != nil {
			s.t.Fatal(err)
		}
	}
	read(`SELECT id AS key, event_id AS id FROM orders`)
	for _, row := range rows {
		l.orders[row.Key] = row.ID
	}
	read(`SELECT id, key, status FROM outbox_messages WHERE topic = $1`, orders.CreatedTopic)
	for _, row := range rows {
		l.events[row.ID], l.status[row.ID] = row.Key, row.Status
	}
	l.applied = s.tally(s.notificationsDB, `SELECT event_id, count(*) FROM processed_events WHERE consumer = 'notifications' GROUP BY event_id`)
	l.effects = s.tally(s.notificationsDB, `SELECT event_id::text, count(*) FROM notifications GROUP BY event_id`)
	s.inspect(func(i *rabbitmq.Inspector) error {
		ids, err := i.DeadLetterIDs(s.t.Context(), 0)
		for _, id := range ids {
			l.aside[id]++
		}
		return err
	})
	return l
}

// tally reads ids with their counts.
func (s *system) tally(db *sqlx.DB, query string) map[string]int {
	s.t.Helper()
	rows, err := db.QueryContext(s.t.Context(), query)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			s.t.Fatal(err)
		}
		found[id] = n
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return found
}

// problems returns a line for every event that did not end as expected.
func (l reconciliation) problems(but exceptions) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(l.orders) == 0 {
		report("there are no orders: nothing was proven")
	}
	for order, event := range l.orders {
		if l.events[event] != order {
			report("order %s: its event %s is not in the outbox", order, event)
		}
	}
	if len(l.events) != len(l.orders) {
		report("%d events in the outbox of %d orders", len(l.events), len(l.orders))
	}
	for event := range l.events {
		dead, aside := slices.Contains(but.dead, event), slices.Contains(but.aside, event)
		if dead != (l.status[event] == outbox.Dead) || !dead && l.status[event] != outbox.Published {
			report("event %s: its row is %s", event, l.status[event])
		}
		want := 1
		if dead || aside {
			want = 0
		}
		if l.applied[event] != want || l.effects[event] != want {
			report("event %s: %d times in the inbox, %d notifications; want %d of each", event, l.applied[event], l.effects[event], want)
		}
		if (l.aside[event] > 0) != (aside || slices.Contains(but.conflicts, event)) {
			report("event %s: %d dead letters", event, l.aside[event])
		}
	}
	for _, found := range []map[string]int{l.applied, l.effects} {
		for event := range found {
			if _, known := l.events[event]; !known {
				report("event %s was applied and is in no outbox", event)
			}
		}
	}
	return problems
}

// requireOrders fails the test unless every order that was answered with 201 is
// in the database.
func (s *system) requireOrders(answered []placed) {
	s.t.Helper()
	stored := s.tally(s.ordersDB, `SELECT id::text, 1 FROM orders`)
	for _, p := range answered {
		if stored[p.OrderID] == 0 {
			s.t.Errorf("order %s was answered with 201 and is not stored", p.OrderID)
		}
	}
}
