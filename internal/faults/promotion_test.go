package faults_test

import (
	"net/url"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F29: the primary of both services is killed under load, and its synchronous
// standby is promoted. Orders reaches the servers at an address that moves: once
// by mistake, which leaves its connections at the standby, and then before the
// standby is promoted. Notifications has a list of both servers.
func TestF29SynchronousStandbyPromoted(t *testing.T) {
	t.Parallel()
	primary := testenv.PostgresServer(t)
	run(t, primary.URL(), `CREATE DATABASE orders`, `CREATE DATABASE notifications`)
	standby := primary.Standby()
	standby.Synchronous()
	proxy := testenv.NewProxy(t, hostOf(t, primary.URL()))
	both := hostOf(t, primary.URL()) + "," + hostOf(t, standby.URL())
	s := newSystemOn(t, serverURL(t, primary.URL(), proxy.Addr(), "orders"), serverURL(t, primary.URL(), both, "notifications"),
		testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	orders := s.startOrders()
	load := startFailingLoad(t, orders.url, 4)
	load.await(30)
	awaitReadOnly := func() {
		t.Helper()
		testenv.Eventually(t, patience, "orders to say that its server is a standby", func() bool {
			h := orders.health(t)
			return h.Status == "unready" && h.Database.Status == "read-only" && h.Relay.State == "degraded"
		})
	}

	proxy.Retarget(hostOf(t, standby.URL()))
	proxy.Cut()
	awaitReadOnly()
	proxy.Retarget(hostOf(t, primary.URL())) // open connections stay at the standby, which answers
	load.await(30)
	there := openPooled(t, "pgx", standby.URL(), nil)
	testenv.Eventually(t, patience, "every connection to have left the standby", func() bool {
		n, err := count(there, `SELECT count(*) FROM pg_stat_activity WHERE datname = 'orders'`)
		return n == 0 && err == nil
	})

	primary.Kill()
	proxy.Retarget(hostOf(t, standby.URL()))
	proxy.Cut()
	awaitReadOnly()
	standby.Promote()
	load.await(50)
	s.requireUnhurt(load.end(), consumer)
}

// serverURL returns the URL of a server with other hosts and another database.
func serverURL(t *testing.T, server, hosts, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.Path = hosts, "/"+database
	return u.String()
}
