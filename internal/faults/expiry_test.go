package faults_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/baotest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/openbao"
)

// disposable is a user of a server, which an engine hands out and deletes.
type disposable interface {
	credentials() (name, password string)
	remove()
}

type databaseUser struct{ *testenv.PostgresUser }

func (u databaseUser) credentials() (string, string) {
	address, err := url.Parse(u.URL())
	if err != nil {
		return "", err.Error()
	}
	password, _ := address.User.Password()
	return address.User.Username(), password
}

func (u databaseUser) remove() {
	u.Exec(`ALTER ROLE ` + u.Name() + ` NOLOGIN`)
	u.Disconnect()
}

type brokerUser struct{ *testenv.RabbitMQUser }

func (u brokerUser) credentials() (string, string) { return u.Credentials() }

func (u brokerUser) remove() {
	u.SetPassword("deleted")
	u.Disconnect()
}

// handOut is an engine whose users live for a few seconds, however often they are
// renewed. It has as many as were prepared; the last one stays.
func handOut(prepared ...disposable) baotest.Engine {
	var made []disposable
	return baotest.Engine{
		TTL: 2 * time.Second, MaxTTL: 4 * time.Second,
		Make: func(int) (string, string) {
			user := prepared[min(len(made), len(prepared)-1)]
			made = append(made, user)
			return user.credentials()
		},
		Delete: func(name string) {
			at := slices.IndexFunc(prepared, func(u disposable) bool { n, _ := u.credentials(); return n == name })
			if at < len(prepared)-1 {
				prepared[at].remove()
			}
		},
	}
}

// F80: users of database and broker that OpenBao makes expire under load, again and
// again, and are deleted with their sessions; meanwhile the server of the secrets is
// sealed, and revokes everything at once.
func TestF80CredentialsExpire(t *testing.T) {
	t.Parallel()
	database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	s := newSystemOn(t, database, database, broker)
	var databaseUsers, brokerUsers []disposable
	for range 12 {
		user := testenv.NewPostgresUser(t, database)
		user.Exec(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + user.Name() + `; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ` + user.Name())
		databaseUsers = append(databaseUsers, databaseUser{user})
		brokerUsers = append(brokerUsers, brokerUser{testenv.NewRabbitMQUser(t, broker)})
	}
	server := baotest.New(t)
	server.Mount("database/creds/pulse", handOut(databaseUsers...))
	server.Mount("rabbitmq/creds/pulse", handOut(brokerUsers...))
	bao := s.openBao(server)
	orders, consumer := s.startWithSecrets(bao.Database("database", "pulse"), bao.RabbitMQ("rabbitmq", "pulse"))
	made := func(n int) {
		t.Helper()
		testenv.Eventually(t, patience, fmt.Sprintf("user %d", n), func() bool {
			server.Expire()
			return server.Requests("GET /v1/{mount}/creds/{role}") >= n
		})
	}
	load := startFailingLoad(t, orders.url, 2)
	load.await(20)
	made(6) // the third user of each kind, or nearly
	server.Seal()
	load.await(20)
	server.Work()
	server.RevokeTokens() // and all users with them
	made(10)
	load.await(20)
	testenv.Eventually(t, patience, "the relay to publish", func() bool { h := orders.health(t); return h.Status == "ready" && h.Relay.Connected })
	s.requireUnhurt(load.end(), consumer)
}

// openBao returns a Client of a server, which renews until the test ends.
func (s *system) openBao(server *baotest.Server) *openbao.Client {
	s.t.Helper()
	settings := api.DefaultConfig()
	settings.Address = server.URL
	client, err := api.NewClient(settings)
	if err != nil {
		s.t.Fatal(err)
	}
	bao, err := openbao.New(openbao.Config{
		API: client, Login: openbao.AppRole{RoleID: baotest.RoleID, SecretIDFile: s.secretID()}, Freshness: 100 * time.Millisecond, Logger: logger(s.t),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = bao.Run(ctx)
	}()
	s.t.Cleanup(func() { cancel(); <-ended; client.CloneConfig().HttpClient.CloseIdleConnections() })
	return bao
}

func (s *system) secretID() string {
	files := newSecrets(s.t)
	files.put("secret-id", baotest.SecretID)
	return files.path("secret-id")
}

// startWithSecrets starts both services with users for database and broker.
func (s *system) startWithSecrets(database, broker *openbao.Secret) (orders, consumer *service) {
	s.t.Helper()
	without := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		u.User = nil
		return u.String()
	}
	apply := func(c *stdlib.Settings) {
		c.GetDatabaseURL, c.GetAMQPURL = database.URL(without(c.DatabaseURL)), broker.URL(without(c.AMQPURL))
	}
	consumer = s.startNotifications(func(c *stdlib.NotificationsConfig) { apply(&c.Settings) })
	orders = s.startOrders(func(c *stdlib.OrdersConfig) { apply(&c.Settings) })
	return orders, consumer
}
