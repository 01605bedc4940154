package faults_test

import (
	"syscall"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F59: a relay stands still inside its write-back, with rows of leases locked.
// Its session is ended by the server, and others take over.
func TestF59RelayStandsStillInsideItsWriteBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	tap := s.startTap()
	orders := s.place(20)
	holder := s.ordersDB.MustBegin()
	defer holder.Rollback()
	holder.MustExec(`SELECT FROM outbox_messages FOR UPDATE`)
	frozen := s.startChild(assignment{Role: roleRelay})
	const session = `FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pulse relay child' AND `
	testenv.Eventually(t, patience, "the write-back to wait for the rows", func() bool {
		return s.count(s.ordersDB, `(SELECT `+session+`wait_event_type = 'Lock' AND query LIKE '%published_at%') AS waits`) > 0
	})
	frozen.signal(syscall.SIGSTOP)
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, "its transaction to stay open", func() bool {
		return s.count(s.ordersDB, `(SELECT `+session+`state = 'idle in transaction') AS idle`) > 0
	})

	s.startOrders()
	s.awaitSettled()
	// The one that stands still may not have come to all.
	tap.requireCopies(orders, func(id string) int { return max(1, min(2, len(tap.copies(id)))) })
	tap.requireKnown(consumer)
	if n := s.count(s.ordersDB, `outbox_leases WHERE owner = 'child'`); n != 0 {
		t.Errorf("%d leases are still those of the relay that stands still", n)
	}
	s.requireNoAttempts()
	frozen.kill()
	s.requireClean(exceptions{})
}
