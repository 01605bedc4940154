package faults_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// secrets is a directory of files that are replaced while programs run.
type secrets struct {
	t   *testing.T
	dir string
}

func newSecrets(t *testing.T) *secrets { return &secrets{t, t.TempDir()} }

func (s *secrets) path(name string) string { return filepath.Join(s.dir, name) }

// put replaces a file atomically, as a secrets manager does.
func (s *secrets) put(name, content string) {
	s.t.Helper()
	draft := s.path(name + ".new")
	if err := os.WriteFile(draft, []byte(content+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(draft, s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// lookup returns an environment that names the files of both services.
func (s *secrets) lookup(more map[string]string) func(string) (string, bool) {
	environment := map[string]string{
		"PULSE_OUTBOX_DB_FILE": s.path("database"), "PULSE_INBOX_DB_FILE": s.path("database"), "PULSE_AMQP_URL_FILE": s.path("broker"),
		"PULSE_AUTH": "off",
	}
	for name, value := range more {
		environment[name] = value
	}
	return func(name string) (string, bool) { value, ok := environment[name]; return value, ok }
}

// rotated starts both services with the databases and the broker from an
// environment.
func (s *system) rotated(lookup func(string) (string, bool)) (orders, consumer *service) {
	s.t.Helper()
	consumer = s.startNotifications(func(c *stdlib.NotificationsConfig) {
		read, err := stdlib.NotificationsFromEnv(lookup, io.Discard)
		if err != nil {
			s.t.Fatal(err)
		}
		read.Exchange, read.Logger, read.DrainPeriod = c.Exchange, c.Logger, 0
		c.Settings = read.Settings
	})
	orders = s.startOrders(func(c *stdlib.OrdersConfig) {
		read, err := stdlib.OrdersFromEnv(lookup, io.Discard)
		if err != nil {
			s.t.Fatal(err)
		}
		read.Exchange, read.Logger, read.DrainPeriod = c.Exchange, c.Logger, 0
		c.Settings = read.Settings
	})
	return orders, consumer
}

// requireUnhurt checks that a rotation cost no orders and no attempts.
func (s *system) requireUnhurt(answered []placed, consumer *service) {
	s.t.Helper()
	s.requireKept(answered, consumer)
	s.requireNoAttempts()
}

// requireKept checks that no orders are lost, and that no consumer counted an attempt.
func (s *system) requireKept(answered []placed, consumer *service) {
	s.t.Helper()
	s.awaitSettled()
	s.requireOrders(answered)
	if h := consumer.health(s.t).Consumer; h.Retried != 0 || h.DeadLettered != 0 {
		s.t.Errorf("messages counted an attempt for it: %+v", h)
	}
	s.requireClean(exceptions{})
}

// F74: the passwords of database and broker are changed under load, on real
// servers, and open connections are closed before the files are changed.
func TestF74PasswordRotation(t *testing.T) {
	t.Parallel()
	database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	s := newSystemOn(t, database, database, broker)
	user, login := testenv.NewPostgresUser(t, database), testenv.NewRabbitMQUser(t, broker)
	user.Exec(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + user.Name() + `; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ` + user.Name())
	files := newSecrets(t)
	files.put("database", user.URL())
	files.put("broker", login.URL())
	orders, consumer := s.rotated(files.lookup(nil))
	load := startFailingLoad(t, orders.url, 2)
	for round := range 3 {
		load.await(20)
		s.awaitCount(20*round, s.notificationsDB, "notifications")
		password := fmt.Sprintf("round/%d@:%%", round)
		user.SetPassword(password)
		login.SetPassword(password)
		user.Disconnect()
		login.Disconnect()
		testenv.Eventually(t, patience, "the services to notice", func() bool {
			return orders.health(t).Status == "unready" && !orders.health(t).Relay.Connected
		})
		files.put("database", user.URL())
		files.put("broker", login.URL())
		testenv.Eventually(t, patience, "orders and its relay to be connected again", func() bool {
			h := orders.health(t)
			return h.Status == "ready" && h.Relay.Connected
		})
	}
	load.await(20)
	s.requireUnhurt(load.end(), consumer)
}

// F74: the certificates of both servers, and the client's, are replaced by
// those of another authority.
func TestF74CertificateRotation(t *testing.T) {
	t.Parallel()
	server, broker := testenv.PostgresServer(t), testenv.RabbitMQ(t)
	s := newSystemOn(t, server.URL(), server.URL(), broker)
	login := testenv.NewRabbitMQUser(t, broker)
	files := newSecrets(t)
	certify := func(front rabbittest.TLS) {
		ca := certtest.NewAuthority(t)
		cert, key := certtest.PEM(t, ca.Issue(t, x509.ExtKeyUsageServerAuth))
		server.SetCertificate(cert, key)
		for name, file := range map[string]string{"db-ca": ca.File(t), "amqp-ca": front.CAFile, "amqp-cert": front.CertFile, "amqp-key": front.KeyFile} {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files.put(name, strings.TrimSpace(string(content)))
		}
		u, err := url.Parse(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = url.Values{"sslmode": {"verify-ca"}, "sslrootcert": {files.path("db-ca")}}.Encode()
		files.put("database", u.String())
		files.put("broker", front.URL)
	}
	certify(rabbittest.NewTLS(t, login.URL()))
	orders, consumer := s.rotated(files.lookup(map[string]string{
		"PULSE_AMQP_CA_FILE": files.path("amqp-ca"), "PULSE_AMQP_CERT_FILE": files.path("amqp-cert"), "PULSE_AMQP_KEY_FILE": files.path("amqp-key"),
	}))
	load := startFailingLoad(t, orders.url, 2)
	load.await(20)
	certify(rabbittest.NewTLS(t, login.URL()))
	// All connections with the old certificates are closed.
	s.exec(s.ordersDB, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity a JOIN pg_stat_ssl USING (pid) WHERE ssl AND pid <> pg_backend_pid()`)
	login.Disconnect()
	load.await(50)
	published := orders.health(t).Relay.Published
	testenv.Eventually(t, patience, "the relay to publish over the new connection", func() bool {
		h := orders.health(t).Relay
		return h.Connected && h.Published > published
	})
	var encrypted int
	if err := s.ordersDB.GetContext(t.Context(), &encrypted, `SELECT count(*) FROM pg_stat_ssl WHERE ssl`); err != nil || encrypted == 0 {
		t.Errorf("%d sessions are encrypted, %v", encrypted, err)
	}
	s.requireUnhurt(load.end(), consumer)
}
