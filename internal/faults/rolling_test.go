package faults_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F33: under load one part after the other is restarted: consumers, orders
// services with their relays behind a load balancer, the nodes of a RabbitMQ
// cluster, and the database behind a PgBouncer that holds requests meanwhile. No
// customer gets another answer than 201.
func TestF33RollingRestart(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := testenv.RabbitMQCluster(t, 3)
	r := newRollingSystem(t, clusterURL(nodes))
	orders := []*service{r.startOrders(), r.startOrders()}
	consumers := []*service{r.startNotifications(), r.startNotifications()}
	load := startSlowLoad(t, r.balancer.URL)
	r.awaitApplied(20)
	for i := range consumers {
		replacement := r.startNotifications()
		consumers[i].stop()
		consumers[i] = replacement
		r.awaitApplied(20)
	}
	for i := range orders {
		replacement := r.startOrders()
		orders[i].stop()
		orders[i] = replacement
		r.awaitApplied(20)
	}
	for _, node := range nodes {
		node.Stop()
		r.awaitApplied(20) // two of three suffice
		node.Start()
		r.awaitApplied(20)
	}
	answered := load.end()

	// Requests wait for the database, but not for longer than the service does,
	// and a machine that takes longer to restart it proves nothing.
	load = startFailingLoad(t, r.balancer.URL, 2)
	quick := false
	for round := 0; !quick && round < 5; round++ {
		load.await(20)
		failed := load.failures()
		took := r.restartDatabase(load)
		load.await(20)
		t.Logf("the database was away for %v, and %d requests have failed", took, load.failures()-failed)
		quick = took < databaseAway
		if n := load.failures() - failed; quick && n > 0 {
			t.Errorf("%d requests have failed while the database restarted, which took %v", n, took)
		}
	}
	if !quick {
		t.Errorf("each restart of the database took longer than %v: nothing was tested", databaseAway)
	}
	answered = append(answered, load.end()...)
	r.awaitSettled()
	r.requireOrders(answered)
	// A queue of a node that shuts down refuses what it has not confirmed, and does
	// not say why: that is an attempt, and the relay makes the next.
	for _, a := range r.attempts() {
		if a.Status != "pending" || a.Attempts > len(nodes) || !strings.Contains(a.Error, "nacked") {
			t.Errorf("an attempt was counted: %+v", a)
		}
	}
	for _, consumer := range consumers {
		if h := consumer.health(t).Consumer; h.Retried != 0 || h.DeadLettered != 0 {
			t.Errorf("messages counted an attempt: %+v", h)
		}
	}
	r.requireClean(exceptions{})
}

// databaseAway is how long the database may be away without a request that fails:
// the services here wait for as long as they work on a request, 10 s, of which this
// leaves half to a busy machine.
const databaseAway = 5 * time.Second

// rollingSystem is a system whose services can be replaced without an error: a load
// balancer is before those of orders, and PgBouncer before the database of all.
type rollingSystem struct {
	*system
	server   *testenv.Server
	pooler   string
	balancer *testenv.Balancer
}

func newRollingSystem(t *testing.T, amqpURL string) *rollingSystem {
	t.Helper()
	server := testenv.PostgresServer(t)
	run(t, server.URL(), `CREATE DATABASE orders`, `CREATE DATABASE notifications`)
	direct := func(database string) string { return serverURL(t, server.URL(), hostOf(t, server.URL()), database) }
	r := &rollingSystem{
		system: newSystemOn(t, direct("orders"), direct("notifications"), amqpURL),
		server: server, balancer: testenv.NewBalancer(t),
		pooler: testenv.PgBouncer(t, server.URL(), "admin_users = "+administrator(t, server.URL()), "query_wait_timeout = 120", "default_pool_size = 20"),
	}
	r.balancer.FailOpen = true // while the database is away no service is ready
	return r
}

func (r *rollingSystem) pooled(database string) string {
	return serverURL(r.t, r.pooler, hostOf(r.t, r.pooler), database)
}

// startOrders starts an instance and returns once the load balancer uses it.
func (r *rollingSystem) startOrders() *service {
	r.t.Helper()
	svc := r.system.startOrders(func(c *stdlib.OrdersConfig) {
		c.DatabaseURL = r.pooled("orders")
		c.DrainPeriod = 10 * time.Second   // for the load balancer to notice, on the slowest machine
		c.Relay.LeaseTTL = 5 * time.Second // no process is killed here, so it only has to be kept
	})
	ctx, forget := context.WithCancel(context.Background())
	r.t.Cleanup(forget)
	r.balancer.Add(ctx, svc.url)
	testenv.Eventually(r.t, patience, "the load balancer to find it ready", func() bool { return r.balancer.IsReady(svc.url) })
	return svc
}

func (r *rollingSystem) startNotifications() *service {
	r.t.Helper()
	return r.system.startNotifications(func(c *stdlib.NotificationsConfig) { c.DatabaseURL = r.pooled("notifications") })
}

// restartDatabase pauses PgBouncer for as long as the database takes to restart.
func (r *rollingSystem) restartDatabase(load *load) (took time.Duration) {
	r.t.Helper()
	r.administer("PAUSE")
	begun, before := time.Now(), load.count()
	r.server.Stop()
	r.server.Start()
	if n := load.count() - before; n > 2 { // each customer may have had an answer under way
		r.t.Errorf("%d orders were answered without a database", n)
	}
	r.administer("RESUME")
	return time.Since(begun)
}

// administrator returns the user of a URL.
func administrator(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.User.Username()
}

// administer sends a command to PgBouncer.
func (r *rollingSystem) administer(command string) {
	r.t.Helper()
	conn, err := pgconn.Connect(r.t.Context(), r.pooled("pgbouncer"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(r.t.Context())
	if _, err := conn.Exec(r.t.Context(), command).ReadAll(); err != nil {
		r.t.Fatalf("%s: %v", command, err)
	}
}

// clusterURL returns a URL with the addresses of all nodes.
func clusterURL(nodes []*testenv.Server) string {
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.URL())
	}
	return strings.Join(addresses, ",")
}
