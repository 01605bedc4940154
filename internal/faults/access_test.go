package faults_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F26: what database and broker let both services do is taken away and restored
// while they run. (Passwords and certificates that change are F74.)
func TestF26AccessTakenAndRestored(t *testing.T) {
	t.Parallel()
	database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	s := newSystemOn(t, database, database, broker)
	user, login := testenv.NewPostgresUser(t, database), testenv.NewRabbitMQUser(t, broker)
	_, password := login.Credentials()
	grant := func() {
		t.Helper()
		user.Exec(`GRANT ALL ON SCHEMA public TO ` + user.Name() + `; GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + user.Name() +
			`; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ` + user.Name())
	}
	grant()
	// The load fails time and again.
	quiet := slog.New(slog.DiscardHandler)
	consumer := s.startNotifications(func(c *stdlib.NotificationsConfig) {
		c.DatabaseURL, c.AMQPURL, c.AutoMigrate, c.Logger = user.URL(), login.URL(), false, quiet
	})
	orders := s.startOrders(func(c *stdlib.OrdersConfig) {
		c.DatabaseURL, c.AMQPURL, c.AutoMigrate, c.Logger = user.URL(), login.URL(), false, quiet
	})
	load := startFailingLoad(t, orders.url, 1)
	for _, c := range []struct {
		name          string
		take, restore func()
		database      bool // which is lost, not the broker
	}{
		{"privileges in the database", func() { user.Exec(`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ` + user.Name()) }, grant, true},
		// Its sessions stay open, and are nobody's, also when there is a user of that
		// name again.
		{"the database's user", func() {
			user.Exec(`DROP OWNED BY ` + user.Name() + `; DROP ROLE ` + user.Name())
		}, func() { user.Create(); grant() }, true},
		// Consumers keep what they were permitted when they began.
		{"permissions at the broker", func() { login.SetPermissions("", "", ""); login.Disconnect() }, func() { login.SetPermissions(".*", ".*", ".*") }, false},
		// Open connections are closed by the broker.
		{"the broker's user", login.Delete, func() { login.SetPassword(password); login.SetPermissions(".*", ".*", ".*") }, false},
	} {
		load.await(20) // some of which are on their way
		c.take()
		testenv.Eventually(t, patience, "orders to say that it lacks "+c.name, func() bool {
			h := orders.health(t)
			if c.database {
				return h.Status == "unready" && strings.Contains(h.Database.Message, "refuses")
			}
			return h.Status == "ready" && h.Relay.State == "degraded" && strings.Contains(h.Relay.LastError, "broker")
		})
		testenv.Eventually(t, patience, "notifications to say that it lacks "+c.name, func() bool {
			h := consumer.health(t).Consumer
			return h.State == "degraded" && strings.Contains(h.LastError, map[bool]string{true: "database", false: "broker"}[c.database])
		})
		s.place(10) // by another process, which may
		c.restore()
		testenv.Eventually(t, patience, "both to work with "+c.name, func() bool {
			h := orders.health(t)
			return h.Status == "ready" && h.Relay.State == "running" && consumer.health(t).Consumer.State == "running"
		})
	}
	load.await(20)
	s.requireUnhurt(load.end(), consumer)
}
