package faults_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F25: both services get SIGTERM under load, while a backlog drains. They
// finish or release what they hold, so that their successors need not wait for
// anything, and no message is published twice. A message may be delivered
// twice: under load a quorum queue delays acknowledgements, and loses them when
// the channel closes.
func TestF25SIGTERMUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	s.startNotifications().stop() // declares the queue
	tap := s.startTap()
	const backlog = 1000
	all := s.place(backlog)

	// An hour: only leases that are released can be taken over.
	orders := s.startChild(assignment{Role: roleOrders, LeaseTTL: time.Hour})
	notifications := s.startChild(assignment{Role: roleNotifications})
	url := orders.await("serving")[0]
	notifications.await("serving")
	load := startLoad(t, url, 2)
	load.await(10)
	s.awaitCount(100, s.notificationsDB, `notifications`)
	notifications.signal(syscall.SIGTERM)
	orders.signal(syscall.SIGTERM)
	notifications.requireExit()
	orders.requireExit()
	answered := load.end()
	t.Logf("%d orders of the load were answered, %d requests cut off", len(answered), load.cutOff)
	s.requireOrders(answered)

	applied := s.count(s.notificationsDB, `notifications`)
	committed := s.count(s.ordersDB, `orders`)
	if applied == committed {
		t.Fatal("all work was done before SIGTERM: nothing was tested")
	}
	if n := s.count(s.ordersDB, `outbox_leases WHERE owner <> ''`); n != 0 {
		t.Errorf("%d leases were not released", n)
	}

	consumer := s.startNotifications()
	s.startOrders()
	s.awaitSettled()
	if h := consumer.health(t).Consumer; h.Applied != committed-applied {
		t.Errorf("the successor has applied %d, want the %d that were left", h.Applied, committed-applied)
	}
	tap.requireCopies(append(all, answered...), func(string) int { return 1 })
	s.requireNoAttempts()
	s.requireClean(exceptions{})
}
