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
	"postgres":             {"credentials-postgres", "credentials-postgres-init"},
	"rabbitmq":             {"credentials-rabbitmq"},
	"orders-stdlib":        {"credentials-orders"},
	"notifications-stdlib": {"credentials-notifications"},
}

// checkContainers checks users and mounts.
func (p *project) checkContainers(t *testing.T) {
	containers := p.containers(t)
	for service, want := range readers {
		c := containers[service]
		if user := p.userOf(t, c); user == "0" {
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
	for _, service := range append(slices.Clone(stdlib), "credentials") {
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

// checkDatabases checks that each role can connect only to its own database.
func (p *project) checkDatabases(t *testing.T) {
	a := p.addresses(t)
	for own, other := range map[string]string{a.OutboxDB: "/notifications", a.InboxDB: "/orders"} {
		conn, err := pgx.Connect(deadline(t), own)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := conn.Close(deadline(t)); err != nil {
			t.Error(err)
		}
		for _, database := range []string{other, "/postgres", "/template1"} {
			u, err := url.Parse(own)
			if err != nil {
				t.Fatal("an address that is no URL")
			}
			u.Path = database
			conn, err := pgx.Connect(deadline(t), u.String())
			refusal, ok := errors.AsType[*pgconn.PgError](err)
			if !ok || refusal.Code != "42501" { // insufficient_privilege
				t.Errorf("role %s at database %s: %v, want to be refused", u.User.Username(), database, err)
			}
			if conn != nil {
				_ = conn.Close(deadline(t))
			}
		}
	}
}

// secrets are all passwords of a project.
type secrets struct{ superuser, orders, notifications, broker, api string }

func (p *project) secrets(t *testing.T) secrets {
	t.Helper()
	a := p.addresses(t)
	of := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal("an address that is no URL")
		}
		password, _ := u.User.Password()
		return password
	}
	return secrets{
		superuser:     strings.TrimSpace(docker(t, "exec", p.containers(t)["postgres"].ID, "cat", "/run/pulse-events/postgres.password")),
		orders:        of(a.OutboxDB),
		notifications: of(a.InboxDB),
		broker:        of(a.AMQPURL),
		api:           a.APIToken,
	}
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
	named := map[string]string{"superuser": s.superuser, "orders": s.orders, "notifications": s.notifications, "broker": s.broker, "pulsectl": s.api}
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
