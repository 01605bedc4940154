package faults_test

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F59: a relay is frozen inside its write-back, with lease rows locked. The
// server ends its session, and other relays take over.
func TestF59RelayFrozenInWriteBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	orders := s.place(20)
	holder := s.ordersDB.MustBegin()
	defer holder.Rollback()
	holder.MustExec(`SELECT FROM outbox_messages FOR UPDATE`)
	frozen := s.startChild(assignment{Role: roleRelay})
	const session = `pg_stat_activity WHERE datname = current_database() AND application_name = 'pulse relay child' AND wait_event_type = 'Lock' AND query LIKE '%published_at%'`
	testenv.Eventually(t, patience, "the write-back to wait for the rows", func() bool { return s.count(s.ordersDB, session) > 0 })
	frozen.stop()
	var waiting []int
	if err := s.ordersDB.Select(&waiting, `SELECT pid FROM `+session); err != nil || len(waiting) == 0 {
		t.Fatalf("no write-back waits any more: %v", err)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	// Its transaction stays open for as long as the server allows.
	testenv.Eventually(t, patience, "the write-back to have the rows", func() bool {
		return s.count(s.ordersDB, `pg_stat_activity WHERE pid = ANY($1) AND state = 'active'`, waiting) == 0
	})

	s.startOrders()
	s.awaitSettled()
	// The frozen relay may not have published all of them.
	tap.requireCopies(orders, func(id string) int { return max(1, min(2, len(tap.copies(id)))) })
	tap.requireKnown(consumer, 1)
	if n := s.count(s.ordersDB, `outbox_leases WHERE owner = 'child'`); n != 0 {
		t.Errorf("%d leases still belong to the frozen relay", n)
	}
	s.requireNoAttempts()
	frozen.kill()
	s.requireClean(exceptions{})
}
