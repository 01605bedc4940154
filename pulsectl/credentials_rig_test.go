package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// estate is two databases, a broker, and the programs of a service with everything
// that they are let in by.
type estate struct {
	t                   *testing.T
	dir                 string // of all files that change
	database            *testenv.Server
	ordersDB, noticesDB *sqlx.DB
	ordersURL           string // of the databases, as their administrator
	noticesURL          string
	broker              string // as its administrator
	front               rabbittest.TLS
	prefix              string // of the roles
	permissions         map[string][3]string
	keys                *authtest.KeyServer
	trusted             *x509.CertPool  // for the services' certificates
	certificate         tls.Certificate // of their callers
	shop, app           *caller
	programs            []*program
}

// program is one of those that run.
type program struct {
	name, database string // base URL of the database
	roles          []string
	brokerRole     string
	databaseUser   *testenv.PostgresUser
	brokerUser     *testenv.RabbitMQUser
	url            string // of its API
	stop           func()
}

// newEstate makes databases with their tables and roles, exchange and queues, users
// and files, as an administrator does.
func newEstate(t *testing.T) *estate {
	e := &estate{t: t, dir: t.TempDir(), database: testenv.PostgresServer(t), prefix: "shop", keys: authtest.NewKeyServer(t), trusted: x509.NewCertPool()}
	var management string
	e.broker, management = testenv.RabbitMQManaged(t)
	e.ordersURL = e.database.URL()
	e.ordersDB = openDB(t, e.ordersURL)
	e.ordersDB.MustExec(`CREATE DATABASE notices`)
	// A commit that waits for a busy disk takes longer than a request may.
	e.ordersDB.MustExec(`ALTER SYSTEM SET fsync = off`)
	e.ordersDB.MustExec(`SELECT pg_reload_conf()`)
	address, err := url.Parse(e.ordersURL)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/notices"
	e.noticesURL = address.String()
	e.noticesDB = openDB(t, e.noticesURL)
	e.must("migrate", "up")
	_, err1 := orders.Schema(outbox.PostgreSQL).Up(t.Context(), e.ordersDB)
	_, err2 := notifications.Schema(outbox.PostgreSQL).Up(t.Context(), e.noticesDB)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	e.ordersDB.MustExec(e.must("migrate", "print", "--roles", "--prefix", e.prefix, "--only", "outbox"))
	e.noticesDB.MustExec(e.must("migrate", "print", "--roles", "--prefix", e.prefix, "--only", "inbox"))
	all := e.must("migrate", "print", "--roles", "--prefix", e.prefix)
	// What the services' own tables need comes on top.
	e.ordersDB.MustExec(`CREATE ROLE shop_orders; ` + orders.Rights("shop_orders"))
	e.noticesDB.MustExec(`CREATE ROLE shop_notices; ` + notifications.Rights("shop_notices"))
	e.permissions = map[string][3]string{}
	for _, m := range regexp.MustCompile(`set_permissions -p / shop_(\w+) '(.*)' '(.*)' '(.*)'`).FindAllStringSubmatch(all, -1) {
		e.permissions[m[1]] = [3]string{m[2], m[3], m[4]}
	}
	if len(e.permissions) < 2 {
		t.Fatalf("no permissions for RabbitMQ in\n%s", all)
	}
	e.importDefinitions(management, e.must("broker", "topology", "--definitions"))

	db := certtest.NewAuthority(t)
	e.database.SetCertificate(certtest.PEM(t, db.Issue(t, x509.ExtKeyUsageServerAuth)))
	e.put("db-ca", e.authority(db))
	e.front = rabbittest.NewTLS(t, e.broker)
	servers, clients := certtest.NewAuthority(t), certtest.NewAuthority(t)
	e.trusted, e.certificate = servers.Pool(), clients.Issue(t, x509.ExtKeyUsageClientAuth)
	e.putPair("http", servers.Issue(t, x509.ExtKeyUsageServerAuth))
	e.put("http-clients", e.authority(clients))
	lines := ""
	e.shop, e.app = new(caller), new(caller)
	e.shop.setToken(authtest.NewToken(t, &lines, auth.Token{Name: "first"}))
	e.app.setToken(e.keys.Sign(nil))
	e.put("tokens", lines)
	e.callers(e.client(e.trusted, e.certificate))
	return e
}

// start builds and starts the programs.
func (e *estate) start() {
	e.t.Helper()
	bin := e.t.TempDir()
	if out, err := exec.CommandContext(e.t.Context(), "go", "build", "-o", bin+"/", "../examples/stdlib/cmd/orders", "../examples/stdlib/cmd/notifications").CombinedOutput(); err != nil {
		e.t.Fatalf("build: %v\n%s", err, out)
	}
	for _, p := range []*program{
		{name: "notifications", database: e.noticesURL, roles: []string{"consumer", "notices"}, brokerRole: "consumer"},
		{name: "relay", database: e.ordersURL, roles: []string{"relay"}, brokerRole: "relay"},
		{name: "orders", database: e.ordersURL, roles: []string{"producer", "relay", "orders"}, brokerRole: "relay"},
	} {
		e.programs = append(e.programs, p)
		e.newDatabaseUser(p)
		e.newBrokerUser(p)
		command := []string{filepath.Join(bin, p.name)}
		if p.name == "relay" {
			command = []string{"pulsectl", "relay", "run", "--producer", "orders", "--topology", "verify", "--health-addr", "off"}
		}
		e.run(p, command)
	}
	e.eachService("the services to be ready", func(base string) bool {
		res, err := e.client(e.trusted).Get(base + "/health/ready")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// run starts a program, and returns once it says where it serves.
func (e *estate) run(p *program, command []string) {
	e.t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir, "PULSE_STATE_DIR=" + e.dir, "PULSE_METRICS_ADDR=127.0.0.1:0", "PULSE_LOG_FORMAT=json",
		"PULSE_OUTBOX_DB_FILE=" + e.path(p.name+"-database"), "PULSE_INBOX_DB_FILE=" + e.path(p.name+"-database"), "PULSE_AMQP_URL_FILE=" + e.path(p.name+"-broker"),
		"PULSE_AMQP_CA_FILE=" + e.front.CAFile, "PULSE_AMQP_CERT_FILE=" + e.front.CertFile, "PULSE_AMQP_KEY_FILE=" + e.front.KeyFile,
		"PULSE_AUTO_MIGRATE=false", "PULSE_TOPOLOGY=verify", "PULSE_ORDERS_ADDR=127.0.0.1:0", "PULSE_NOTIFICATIONS_ADDR=127.0.0.1:0", "PULSE_DRAIN_PERIOD=0s",
		"PULSE_HTTP_CERT_FILE=" + e.path("http-cert"), "PULSE_HTTP_KEY_FILE=" + e.path("http-key"), "PULSE_HTTP_CLIENT_CA_FILE=" + e.path("http-clients"),
		"PULSE_AUTH_TOKENS_FILE=" + e.path("tokens"), "PULSE_AUTH_JWKS_URL=" + e.keys.URL(), "PULSE_AUTH_ISSUER=" + authtest.Issuer, "PULSE_AUTH_AUDIENCE=" + authtest.Audience,
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	served, ended := make(chan string, 1), make(chan error, 1)
	var log strings.Builder // read once it has ended
	go func() {
		defer close(served)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Level, Msg, Address, URL, Error string }
			err := json.Unmarshal(lines.Bytes(), &line)
			if line.Level != "INFO" {
				fmt.Fprintf(&log, "%s\n", lines.Bytes())
			}
			if line.Msg == "the database cannot serve a request" && !strings.HasSuffix(line.Error, "context deadline exceeded") {
				e.t.Errorf("a request failed by more than a slow machine: %s", line.Error)
			}
			if err == nil && (line.Msg == "serving" || line.Msg == "serving metrics" && p.name == "relay") {
				select {
				case served <- cmp.Or(line.URL, "https://"+line.Address):
				default:
				}
			}
		}
		ended <- cmd.Wait()
	}()
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				e.t.Errorf("%s: %v", p.name, err)
			}
		case <-time.After(relayPatience):
			_ = cmd.Process.Kill()
			e.t.Errorf("%s does not end: %v", p.name, <-ended)
		}
		if e.t.Failed() {
			e.t.Logf("%s\n%s", p.name, &log)
		}
	})
	e.t.Cleanup(p.stop)
	select {
	case p.url = <-served:
	case <-time.After(relayPatience):
	}
	if p.url == "" {
		e.t.Fatalf("%s does not serve", p.name)
	}
}

// newDatabaseUser gives a program a user that has its roles alone.
func (e *estate) newDatabaseUser(p *program) {
	e.t.Helper()
	p.databaseUser = testenv.NewPostgresUser(e.t, p.database)
	p.databaseUser.Exec(`REVOKE ALL ON SCHEMA public FROM ` + p.databaseUser.Name())
	for _, role := range p.roles {
		p.databaseUser.Exec(`GRANT ` + e.prefix + `_` + role + ` TO ` + p.databaseUser.Name())
	}
	e.putDatabase(p)
}

func (e *estate) putDatabase(p *program) {
	e.t.Helper()
	u, err := url.Parse(p.databaseUser.URL())
	if err != nil {
		e.t.Fatal(err)
	}
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {e.path("db-ca")}}.Encode()
	e.put(p.name+"-database", u.String())
}

// newBrokerUser gives a program a user that has the permissions of its role.
func (e *estate) newBrokerUser(p *program) {
	e.t.Helper()
	p.brokerUser = testenv.NewRabbitMQUser(e.t, e.broker)
	may := e.permissions[p.brokerRole]
	p.brokerUser.SetPermissions(may[0], may[1], may[2])
	e.putBroker(p)
}

func (e *estate) putBroker(p *program) {
	e.t.Helper()
	u, err := url.Parse(p.brokerUser.URL())
	front, frontErr := url.Parse(e.front.URL)
	if err := errors.Join(err, frontErr); err != nil {
		e.t.Fatal(err)
	}
	u.Scheme, u.Host = front.Scheme, front.Host
	e.put(p.name+"-broker", u.String())
}

// importDefinitions makes what pulsectl broker topology prints.
func (e *estate) importDefinitions(management, definitions string) {
	e.t.Helper()
	u, err := url.Parse(e.broker)
	if err != nil {
		e.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: relayPatience}
	res, err := client.Post(strings.TrimSuffix(management, "/")+"/api/definitions/"+strings.TrimPrefix(u.Path, "/"), "application/json", strings.NewReader(definitions))
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(res.Body)
		e.t.Fatalf("import definitions: %s %s", res.Status, text)
	}
}

// pulsectl runs a command as the administrator.
func (e *estate) pulsectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*relayPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "pulsectl", args...)
	cmd.Env = append(os.Environ(), "PULSE_STATE_DIR="+e.dir, "PULSE_OUTBOX_DB="+e.ordersURL, "PULSE_INBOX_DB="+e.noticesURL, "PULSE_AMQP_URL="+e.broker)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &errs)
	}
	return string(out), err
}

func (e *estate) must(args ...string) string {
	e.t.Helper()
	out, err := e.pulsectl(args...)
	if err != nil {
		e.t.Fatalf("pulsectl %v: %v", args, err)
	}
	return out
}

func (e *estate) path(name string) string { return filepath.Join(e.dir, name) }

func (e *estate) read(name string) string {
	e.t.Helper()
	text, err := os.ReadFile(e.path(name))
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// put replaces a file atomically, as a secrets manager does.
func (e *estate) put(name, content string) {
	e.t.Helper()
	path := e.path(name)
	if err := errors.Join(os.WriteFile(path+".new", []byte(content+"\n"), 0o600), os.Rename(path+".new", path)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *estate) putPair(name string, c tls.Certificate) {
	e.t.Helper()
	cert, key := certtest.PEM(e.t, c)
	e.put(name+"-cert", string(cert))
	e.put(name+"-key", string(key))
}

func (e *estate) authority(a certtest.Authority) string {
	e.t.Helper()
	text, err := os.ReadFile(a.File(e.t))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(text)
}
