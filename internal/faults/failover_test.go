package faults_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

// demotable is a server whose open sessions can be made read-only like those of
// a standby, while new ones can write: as after a failover in which sockets
// stay open.
type demotable struct {
	t     *testing.T
	user  *testenv.PostgresUser
	probe *sqlx.DB // has a session from the beginning
}

func newDemotable(t *testing.T) *demotable {
	t.Helper()
	user := testenv.NewPostgresUser(t, testenv.PostgresServer(t).URL())
	probe := openPooled(t, "pgx", user.URL(), nil)
	probe.SetMaxOpenConns(1)
	if err := probe.Ping(); err != nil {
		t.Fatal(err)
	}
	return &demotable{t, user, probe}
}

// demote makes all open sessions read-only, permanently.
func (d *demotable) demote() {
	d.t.Helper()
	for _, role := range []string{d.user.Name(), "current_user"} { // the settings of new sessions
		d.user.Exec(`ALTER ROLE ` + role + ` SET default_transaction_read_only = off`)
	}
	d.user.Exec(`ALTER SYSTEM SET default_transaction_read_only = on`)
	d.user.Exec(`SELECT pg_reload_conf()`)
	testenv.Eventually(d.t, patience, "the sessions to be read-only", func() bool {
		var is string
		return d.probe.Get(&is, `SHOW default_transaction_read_only`) == nil && is == "on"
	})
}

// F69: the libraries use a service's own handle, whose pool keeps its
// connections for as long as they answer.
func TestF69FailoverLibraries(t *testing.T) {
	t.Parallel()
	server := newDemotable(t)
	db := openPooled(t, "pgx", server.user.URL(), nil)
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(db, consumerName)
	if err != nil {
		t.Fatal(err)
	}
	migrateAtOnce(t, ob.Migrate)
	migrateAtOnce(t, in.Migrate)
	db.MustExec(`CREATE TABLE effects (event_id text NOT NULL)`)
	recorder, queue := new(outboxtest.Recorder), inboxtest.NewQueue()
	relay, err := outbox.NewRelay(ob, recorder, outbox.RelayConfig{Logger: logger(t), LeaseTTL: leaseTTL})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := inbox.NewConsumer(in, queue, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id) VALUES ($1)`, msg.ID)
		return err
	}, inbox.ConsumerConfig{Logger: logger(t), MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, relay.Run, consumer.Run)
	published := 0
	order := func() error {
		err := enqueueOne(t, db, ob, "k", published)
		if err == nil {
			published++
		}
		return err
	}
	apply := func() {
		t.Helper()
		recorder.WaitFor(t, published)
		for _, m := range recorder.Published() {
			queue.Publish(inbox.Message{ID: m.ID.String(), Topic: m.Topic, Payload: m.Payload})
		}
		queue.WaitUntilEmpty(t)
		inboxtest.RequireCount(t, db, published, `SELECT count(*) FROM effects`)
	}
	for range 5 {
		if err := order(); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	server.demote()
	// The service's own transactions on the pool recover together with the
	// relay.
	testenv.Eventually(t, patience, "an order to be taken", func() bool { return order() == nil })
	for range 20 {
		testenv.Eventually(t, patience, "an order to be taken", func() bool { return order() == nil })
	}
	apply()
	testenv.Eventually(t, patience, "relay and consumer to be well", func() bool {
		return relay.Health().State == outbox.RelayRunning && consumer.Health().State == inbox.Running
	})
	if n, err := count(db, `SELECT coalesce(sum(attempts), 0) FROM outbox_messages`); n != 0 || err != nil {
		t.Errorf("%d attempts were counted, %v", n, err)
	}
	if dead := queue.DeadLetters(); len(dead) > 0 {
		t.Errorf("%d dead letters, as %v", len(dead), dead[0].Err)
	}
}

// F69: the example services, under load.
func TestF69FailoverServices(t *testing.T) {
	t.Parallel()
	server := newDemotable(t)
	ordersURL, notificationsURL := server.user.URL(), testenv.Postgres(t)
	s := newSystemOn(t, ordersURL, notificationsURL, testenv.RabbitMQ(t))
	s.startNotifications()
	orders := s.startOrders(func(c *stdlib.OrdersConfig) { c.AutoMigrate = false })
	load := startFailingLoad(t, orders.url, 4)
	load.await(50)
	server.demote()
	load.await(100)
	answered := load.end()
	s.awaitSettled()
	s.requireNoAttempts()
	s.requireOrders(answered)
	s.requireClean(exceptions{})
}
