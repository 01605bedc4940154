package main

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F83: orders with its relay, a second relay and notifications run as programs, each
// with the roles alone that migrate print --roles prints, behind HTTPS with client
// certificates and tokens, and reach PostgreSQL and RabbitMQ over TLS. Under load,
// every credential and certificate is replaced, and the old one withdrawn. No
// request fails, no attempt is counted, nothing is lost or applied twice.
func TestF83EveryCredentialChanges(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	e.start()
	load := e.startLoad()
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"tokens", e.changeTokens}, {"keys of JWTs", e.changeKeys},
		{"certificates of the APIs and their clients", e.changeHTTPS}, {"certificates of the broker and its clients", func() { e.front.Renew(t) }},
		{"certificate of the database", e.changeDatabaseCertificate}, {"users of the database", e.changeDatabaseUsers},
		{"users of the broker", e.changeBrokerUsers}, {"passwords of those that serve no requests", e.changePasswords},
	} {
		load.await(20)
		t.Logf("after %d orders: %s", load.count(), change.what)
		change.do()
		e.awaitFlow()
	}
	load.await(20)
	e.verify(load.end())
	t.Logf("%d orders, %d requests out of time", load.count(), load.late)
	for _, p := range e.programs {
		p.stop()
	}
}

// changeTokens replaces the token of a file.
func (e *estate) changeTokens() {
	lines := ""
	next, old := authtest.NewToken(e.t, &lines, auth.Token{Name: "next"}), e.shop.token()
	e.put("tokens", e.read("tokens")+"\n"+lines)
	e.awaitStatus(next, http.StatusOK)
	e.shop.setToken(next)
	e.put("tokens", lines)
	e.awaitStatus(old, http.StatusUnauthorized)
}

// changeKeys makes the key server sign with another key.
func (e *estate) changeKeys() {
	e.keys.Rotate("key-2")
	next := e.keys.Sign(nil)
	e.awaitStatus(next, http.StatusOK)
	e.app.setToken(next)
	e.keys.Withdraw("key-1") // which services forget within minutes
}

// changeHTTPS replaces the certificates of the services, and of their callers. At
// first all trust the new authorities beside the old ones.
func (e *estate) changeHTTPS() {
	servers, clients := certtest.NewAuthority(e.t), certtest.NewAuthority(e.t)
	both := e.trusted.Clone()
	both.AppendCertsFromPEM([]byte(e.authority(servers)))
	e.callers(e.client(both, e.certificate))
	old := e.client(servers.Pool(), e.certificate)
	next := e.client(servers.Pool(), clients.Issue(e.t, x509.ExtKeyUsageClientAuth))
	e.put("http-clients", e.read("http-clients")+"\n"+e.authority(clients))
	e.putPair("http", servers.Issue(e.t, x509.ExtKeyUsageServerAuth))
	for _, client := range []*http.Client{old, next} {
		e.eachService("the new certificate, and both of the clients", func(base string) bool {
			status, err := get(client, base, e.app.token())
			return err == nil && letIn(status)
		})
	}
	e.callers(next)
	e.put("http-clients", e.authority(clients))
	e.eachService("the old client certificate to be refused", func(base string) bool {
		_, err := get(old, base, e.app.token())
		return err != nil
	})
}

// changeDatabaseCertificate replaces the certificate of PostgreSQL.
func (e *estate) changeDatabaseCertificate() {
	next := certtest.NewAuthority(e.t)
	e.put("db-ca", e.read("db-ca")+"\n"+e.authority(next))
	e.database.SetCertificate(certtest.PEM(e.t, next.Issue(e.t, x509.ExtKeyUsageServerAuth)))
	e.put("db-ca", e.authority(next))
}

// changeDatabaseUsers gives each program another user of the database, and then
// takes the old one away: as soon as the pools have moved by themselves.
func (e *estate) changeDatabaseUsers() {
	for _, p := range e.programs {
		old := p.databaseUser
		e.newDatabaseUser(p)
		var used int
		testenv.Eventually(e.t, relayPatience, p.name+" to leave its old user", func() bool {
			err := e.ordersDB.Get(&used, `SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND (state <> 'idle' OR state_change > now() - interval '2 s')`, old.Name())
			if err != nil {
				e.t.Fatal(err)
			}
			return used == 0
		})
		old.Exec(`ALTER ROLE ` + old.Name() + ` NOLOGIN`)
		old.Disconnect()
	}
}

// changeBrokerUsers gives each program another user of the broker, and deletes the
// old one, which ends its connections.
func (e *estate) changeBrokerUsers() {
	for _, p := range e.programs {
		old := p.brokerUser
		e.newBrokerUser(p)
		old.Delete()
	}
}

// changePasswords changes passwords in place. Between the change on the server and
// that of the file nobody can connect, so a service that answers requests gets
// another user instead.
func (e *estate) changePasswords() {
	for _, p := range e.programs {
		p.brokerUser.SetPassword("second/@:%")
		e.putBroker(p)
		p.brokerUser.Disconnect()
		if p.name != "orders" {
			p.databaseUser.SetPassword("second/@:%")
			e.putDatabase(p)
			p.databaseUser.Disconnect()
		}
	}
}

// awaitFlow waits until what is ordered from now on has been applied.
func (e *estate) awaitFlow() {
	e.t.Helper()
	var last int64
	if err := e.ordersDB.Get(&last, `SELECT max(seq) FROM outbox_messages`); err != nil {
		e.t.Fatal(err)
	}
	testenv.Eventually(e.t, relayPatience, "orders to be published", func() bool {
		var pending int
		if err := e.ordersDB.Get(&pending, `SELECT count(*) FROM outbox_messages WHERE seq <= $1 + 1 AND status <> 'published'`, last); err != nil {
			e.t.Fatal(err)
		}
		return pending == 0 || e.t.Failed()
	})
	var applied, more int
	if err := e.noticesDB.Get(&applied, `SELECT count(*) FROM processed_events`); err != nil {
		e.t.Fatal(err)
	}
	testenv.Eventually(e.t, relayPatience, "orders to be applied", func() bool {
		if err := e.noticesDB.Get(&more, `SELECT count(*) FROM processed_events`); err != nil {
			e.t.Fatal(err)
		}
		return more > applied || e.t.Failed()
	})
}

// verify compares what was answered with what became of it.
func (e *estate) verify(ids []string) {
	e.t.Helper()
	e.put("ids", strings.Join(ids, "\n"))
	out, err := e.pulsectl("verify", "--ids", e.path("ids"), "-o", "json")
	if err != nil {
		e.t.Errorf("verify: %v\n%s", err, out)
	}
	var attempts int
	if err := e.ordersDB.Get(&attempts, `SELECT count(*) FROM outbox_messages WHERE attempts > 0`); err != nil || attempts > 0 {
		e.t.Errorf("%d messages have counted an attempt, %v", attempts, err)
	}
	var distinct, all int
	if err := e.noticesDB.QueryRow(`SELECT count(DISTINCT event_id), count(*) FROM notifications`).Scan(&distinct, &all); err != nil || distinct != all || all < len(ids) {
		e.t.Errorf("%d notifications of %d events for %d orders, %v", all, distinct, len(ids), err)
	}
	var plain int
	err = e.ordersDB.Get(&plain, `SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND usename LIKE 'pulse\_%'`)
	if err != nil || plain > 0 {
		e.t.Errorf("%d sessions are not encrypted, %v", plain, err)
	}
}
