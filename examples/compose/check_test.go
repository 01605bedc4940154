package compose

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	amqp "github.com/rabbitmq/amqp091-go"
)

// ask sends a request to the orders service of a profile.
func (p *project) ask(t *testing.T, method, profile, path string, body io.Reader) (status int, answer string) {
	t.Helper()
	port := p.ports["PULSE_ORDERS_"+strings.ToUpper(profile)+"_PORT"]
	req, err := http.NewRequestWithContext(deadline(t), method, "http://127.0.0.1:"+strconv.Itoa(port)+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("content-type", "application/json")
	req.Header.Set("authorization", "Bearer "+p.addresses(t).APIToken)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// readers says which volumes of credentials a service may see.
var readers = map[string][]string{
	"postgres":             {"credentials-postgres"},
	"rabbitmq":             {"credentials-rabbitmq"},
	"migrate":              {"credentials-postgres"},
	"topology":             {"credentials-rabbitmq"},
	"orders-stdlib":        {"credentials-orders"},
	"notifications-stdlib": {"credentials-notifications"},
}

// checkContainers checks users and mounts.
func (p *project) checkContainers(t *testing.T) {
	containers := p.containers(t)
	for service, want := range readers {
		c := containers[service]
		if !slices.Contains(jobs, service) && p.userOf(t, c) == "0" {
			t.Errorf("%s runs as root", service)
		}
		var sees []string
		for _, m := range c.Mounts {
			volume := strings.TrimPrefix(m.Name, p.name+"_")
			if !strings.HasPrefix(volume, "credentials") {
				continue
			}
			sees = append(sees, volume)
			if m.RW {
				t.Errorf("%s may write to %s", service, volume)
			}
		}
		if slices.Sort(sees); !slices.Equal(sees, want) {
			t.Errorf("%s sees the credentials in %q, want %q", service, sees, want)
		}
	}
	for _, service := range slices.Concat(stdlib, jobs, []string{"credentials"}) {
		if user := containers[service].Config.User; user != "65532:65532" {
			t.Errorf("%s is set to run as %q", service, user)
		}
	}
}

// userOf returns the number of the user that a container's main process runs
// as.
func (p *project) userOf(t *testing.T, c container) string {
	t.Helper()
	for line := range strings.Lines(docker(t, "top", c.ID, "-eo", "uid,pid")) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == strconv.Itoa(c.State.Pid) {
			return fields[0]
		}
	}
	t.Fatalf("%s: docker top does not show the main process", c.Name)
	return ""
}

// checkDatabases checks that each service can connect only to its own database,
// and there do its work alone. Package setup tests the rest.
func (p *project) checkDatabases(t *testing.T, s secrets) {
	a := p.addresses(t)
	for own, login := range map[string]*url.Userinfo{a.OutboxDB: url.UserPassword("orders", s.orders), a.InboxDB: url.UserPassword("notifications", s.notifications)} {
		u, err := url.Parse(own)
		if err != nil {
			t.Fatal("an address that is no URL")
		}
		u.User = login
		conn, err := pgx.Connect(deadline(t), u.String())
		if err != nil {
			t.Error(err)
			continue
		}
		for _, statement := range []string{"CREATE TABLE mine ()", "CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine ()", "SET ROLE pulse_owner"} {
			if _, err := conn.Exec(deadline(t), statement); !insufficient(err) {
				t.Errorf("%s may do %s: %v", login.Username(), statement, err)
			}
		}
		if err := conn.Close(deadline(t)); err != nil {
			t.Error(err)
		}
		for _, database := range []string{"/orders", "/notifications", "/postgres", "/template1"} {
			if database == "/"+login.Username() {
				continue
			}
			u.Path = database
			conn, err := pgx.Connect(deadline(t), u.String())
			if !insufficient(err) {
				t.Errorf("role %s at database %s: %v, want to be refused", login.Username(), database, err)
			}
			if conn != nil {
				_ = conn.Close(deadline(t))
			}
		}
	}
}

func insufficient(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refusal.Code == "42501" // insufficient_privilege
}

// checkBroker checks that no service may configure the broker, or use what is
// another's.
func (p *project) checkBroker(t *testing.T, s secrets) {
	a := p.addresses(t)
	for _, c := range []struct {
		login     *url.Userinfo
		mayNotGet string
	}{{url.UserPassword("orders", s.brokerOrders), "order.created"}, {url.UserPassword("notifications", s.brokerNotifications), "order.created.dlq"}} {
		u, err := url.Parse(a.AMQPURL)
		if err != nil {
			t.Fatal("an address that is no URL")
		}
		u.User = c.login
		conn, err := amqp.Dial(u.String())
		if err != nil {
			t.Error(err)
			continue
		}
		for what, do := range map[string]func(*amqp.Channel) error{
			"declare a queue": func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclare("mine", true, false, false, false, nil)
				return err
			},
			"delete the queue": func(ch *amqp.Channel) error {
				_, err := ch.QueueDelete("order.created", false, false, false)
				return err
			},
			"get from " + c.mayNotGet: func(ch *amqp.Channel) error { _, _, err := ch.Get(c.mayNotGet, false); return err },
		} {
			ch, err := conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			refusal, ok := errors.AsType[*amqp.Error](do(ch))
			if !ok || refusal.Code != amqp.AccessRefused {
				t.Errorf("%s may %s: %v", c.login.Username(), what, refusal)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// asBefore turns the servers into those of a version whose services owned their
// databases and were administrators of the broker. Package setup tests this with
// the statements of that version.
func (p *project) asBefore(t *testing.T) {
	t.Helper()
	containers := p.containers(t)
	for _, statements := range [][]string{
		{"--dbname=orders", "REASSIGN OWNED BY pulse_owner TO orders; DROP OWNED BY pulse_owner, pulse_producer, pulse_relay, pulse_operator, pulse_readonly"},
		{"--dbname=notifications", "REASSIGN OWNED BY pulse_owner TO notifications; ALTER DATABASE notifications OWNER TO notifications; " +
			"DROP OWNED BY pulse_owner, pulse_consumer, pulse_operator, pulse_readonly"},
		{"--dbname=postgres", "DROP ROLE pulse_owner, pulse_producer, pulse_relay, pulse_consumer, pulse_operator, pulse_readonly"},
	} {
		docker(t, "exec", "--user=postgres", containers["postgres"].ID, "sh", "-c",
			`PGPASSWORD=$(cat /run/pulse-events/postgres.password) psql --username=postgres --set=ON_ERROR_STOP=1 --quiet "$0" --command="$1"`, statements[0], statements[1])
	}
	for _, user := range []string{"orders", "notifications"} {
		docker(t, "exec", containers["rabbitmq"].ID, "rabbitmqctl", "--quiet", "delete_user", user)
	}
}

// secrets are all passwords of a project.
type secrets struct {
	superuser, owner, orders, notifications   string
	broker, brokerOrders, brokerNotifications string
	api                                       string
}

func (p *project) secrets(t *testing.T) secrets {
	t.Helper()
	containers, a := p.containers(t), p.addresses(t)
	read := func(service, file string) string {
		return strings.TrimSpace(docker(t, "exec", containers[service].ID, "cat", file+".password"))
	}
	s := secrets{
		superuser: read("postgres", "/run/pulse-events/postgres"), owner: read("postgres", "/run/pulse-events/pulse_owner"),
		orders: read("postgres", "/run/pulse-events/orders"), notifications: read("postgres", "/run/pulse-events/notifications"),
		broker: read("rabbitmq", "/etc/rabbitmq/conf.d/broker"), brokerOrders: read("rabbitmq", "/etc/rabbitmq/conf.d/orders"),
		brokerNotifications: read("rabbitmq", "/etc/rabbitmq/conf.d/notifications"), api: a.APIToken,
	}
	for address, want := range map[string]string{a.OutboxDB: s.owner, a.AMQPURL: s.broker} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal("an address that is no URL")
		}
		if password, _ := u.User.Password(); password != want {
			t.Error("credentials show prints another password than the server's")
		}
	}
	return s
}

// checkSecrets checks that no password is in logs or settings of containers.
func (p *project) checkSecrets(t *testing.T, s secrets) {
	places := map[string]string{
		"inspect": docker(t, append([]string{"inspect"}, p.ids(t)...)...),
	}
	for _, profile := range []string{"stdlib", "gin"} {
		places["config of "+profile] = p.with(t, profile, "config")
	}
	for _, id := range p.ids(t) {
		// Compose v1 shows only the logs of running services.
		places["logs of "+id] = dockerLogs(t, id)
	}
	named := map[string]string{
		"superuser": s.superuser, "owner": s.owner, "orders": s.orders, "notifications": s.notifications, "broker": s.broker,
		"orders in the broker": s.brokerOrders, "notifications in the broker": s.brokerNotifications, "pulsectl": s.api,
	}
	for _, owner := range slices.Sorted(maps.Keys(named)) {
		if len(named[owner]) < 20 {
			t.Fatalf("the password of %s has only %d characters", owner, len(named[owner]))
		}
		for place, text := range places {
			if strings.Contains(text, named[owner]) {
				t.Errorf("%s: tells the password of %s", place, owner)
			}
		}
	}
}
