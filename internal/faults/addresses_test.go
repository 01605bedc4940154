package faults_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F75: of the brokers and database servers in the URLs, one after the other
// becomes unavailable under load.
func TestF75OneAddressDown(t *testing.T) {
	t.Parallel()
	database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	s := newSystemOn(t, database, testenv.Postgres(t), broker)
	brokers := []*rabbittest.Proxy{rabbittest.NewProxy(t, broker), rabbittest.NewProxy(t, broker)}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	servers := []*testenv.Proxy{testenv.NewProxy(t, u.Host), testenv.NewProxy(t, u.Host)}
	several := func(c *stdlib.Settings) {
		c.AMQPURL = brokers[0].URL() + "," + brokers[1].URL()
		c.AutoMigrate = false
	}
	consumer := s.startNotifications(func(c *stdlib.NotificationsConfig) { several(&c.Settings) })
	orders := s.startOrders(func(c *stdlib.OrdersConfig) {
		several(&c.Settings)
		c.DatabaseURL = strings.Replace(database, u.Host, servers[0].Addr()+","+servers[1].Addr(), 1)
	})
	load := startFailingLoad(t, orders.url, 2)
	load.await(20)
	for i := range 2 {
		brokers[i].Cut()
		servers[i].Freeze() // accepts connections and does not answer: worse than being down
		load.await(30)
		published := orders.health(t).Relay.Published
		testenv.Eventually(t, patience, "the relay to publish through the other", func() bool { return orders.health(t).Relay.Published > published })
		brokers[i].Restore()
		servers[i].Thaw()
	}
	s.requireUnhurt(load.end(), consumer)
}
