package faults_test

import (
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F32: the broker's disk falls below its limit, which blocks publishers; then it
// is full before the broker has noticed.
func TestF32BrokerDiskFull(t *testing.T) {
	long(t)
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	disk := server.OnDisk(server.RabbitMQDirectory(), 512<<20)
	s := newSystem(t, server.URL())
	consumer := s.startNotifications()
	orders := s.startOrders()
	load := startSlowLoad(t, orders.url)
	s.awaitCount(50, s.notificationsDB, `notifications`)

	server.SetDiskFreeLimit(1 << 50)
	testenv.Eventually(t, patience, "health to tell the broker's reason", func() bool {
		h := orders.health(t)
		return h.Status == "ready" && h.Relay.State == "degraded" && strings.Contains(h.Relay.LastError, "low on disk")
	})
	load.await(50) // each of them is answered with 201
	server.SetDiskFreeLimit(1)
	testenv.Eventually(t, patience, "the relay to recover", func() bool { return orders.health(t).Relay.State == "running" })

	disk.Fill()
	// RabbitMQ 4 goes on for long, in files that it has made before.
	before := orders.health(t).Relay.Published
	testenv.Eventually(t, patience, "the relay to notice, or to publish all the same", func() bool {
		h := orders.health(t)
		return h.Status == "ready" && (h.Relay.State == "degraded" || h.Relay.Published > before+300)
	})
	load.await(50)
	t.Logf("on a full disk: relay %+v, consumer %+v", orders.health(t).Relay, consumer.health(t).Consumer)
	disk.Free()
	server.Kill() // what could not write does not always recover without
	server.Start()
	testenv.Eventually(t, patience, "the relay to recover", func() bool { return orders.health(t).Relay.State == "running" })
	s.requireUnhurt(load.end(), consumer)
}
