package exampletest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

type health struct {
	Status, Service string
	Database        struct{ Status, Message string }
	Relay, Consumer *struct {
		State, LastError string
		Connected        bool
	}
}

func readiness(t *testing.T, url string) (int, health) {
	t.Helper()
	status, body := Ask(t, http.MethodGet, url+"/health/ready", "")
	return status, Decode[health](t, body)
}

// OrdersServesWhileTheBrokerIsAway tests that orders are taken, and wait in the outbox.
func (k Stack) OrdersServesWhileTheBrokerIsAway(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		url, cfg, _ := k.StartOrders(t, on)
		for range 3 {
			if status, body := Ask(t, http.MethodPost, url+"/orders", `{"customerId":"c","amount":1}`); status != http.StatusCreated {
				t.Fatalf("%d %s", status, body)
			}
		}
		testenv.Eventually(t, Patience, "the relay to be degraded", func() bool {
			status, h := readiness(t, url)
			if status != http.StatusOK || h.Status != "ready" || h.Service != "orders" {
				t.Fatalf("%d %+v, want ready", status, h)
			}
			return h.Relay.State == "degraded" && !h.Relay.Connected && h.Relay.LastError != ""
		})
		if n := Count(t, Open(t, cfg.DatabaseURL), `outbox_messages WHERE status = 'pending' AND attempts = 0`); n != 3 {
			t.Errorf("%d rows pending without an attempt, want 3", n)
		}
	})
}

// NotificationsServesWhileTheBrokerIsAway tests that notifications can be read.
func (k Stack) NotificationsServesWhileTheBrokerIsAway(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		settings, _ := Settings(t, on)
		notifications, err := k.Notifications(settings, "")
		if err != nil {
			t.Fatal(err)
		}
		base := Start(t, notifications)
		if status, body := Ask(t, http.MethodGet, base+"/notifications?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a87", ""); status != http.StatusOK || string(body) != "[]\n" {
			t.Errorf("%d %s", status, body)
		}
		status, h := readiness(t, base)
		if status != http.StatusOK || h.Service != "notifications" || h.Consumer.Connected {
			t.Errorf("%d %+v", status, h)
		}
		for _, query := range []string{"", "?orderId=", "?orderId=5", "?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a8z"} {
			res, body := Exchange(t, http.MethodGet, base+"/notifications"+query, "")
			if _, fields := Refused(t, query, res, body, http.StatusBadRequest); len(fields) != 1 || fields[0] != "orderId" {
				t.Errorf("%s: fields %q", query, fields)
			}
		}
	})
}

// ReadyTellsThatTheSchemaIsMissing tests that a service without its schema is not ready, but alive.
func (k Stack) ReadyTellsThatTheSchemaIsMissing(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		base, cfg, _ := k.StartOrders(t, on)
		Execute(t, Open(t, cfg.DatabaseURL), `DROP TABLE outbox_messages`)
		status, h := readiness(t, base)
		if status != http.StatusServiceUnavailable || h.Status != "unready" || h.Database.Status != "schema" {
			t.Errorf("%d %+v", status, h)
		}
		if status, body := Ask(t, http.MethodGet, base+"/health/live", ""); status != http.StatusOK {
			t.Errorf("live: %d %s", status, body)
		}
	})
}

// OrdersWaitsForAWriter tests that on SQLite an order waits for whoever is writing, and is taken then; reading
// and readiness do not wait.
func (k Stack) OrdersWaitsForAWriter(t *testing.T) {
	base, cfg, _ := k.StartOrders(t, Bare)
	writer := Open(t, cfg.DatabaseURL).MustBegin()
	defer writer.Rollback()
	type answer struct {
		status string
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Post(base+"/orders", "application/json", strings.NewReader(`{"customerId":"c","amount":1}`))
		if err != nil {
			answers <- answer{err: err}
			return
		}
		answers <- answer{res.Status, res.Body.Close()}
	}()
	for _, path := range []string{"/orders", "/health/ready"} {
		if status, body := Ask(t, http.MethodGet, base+path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	select {
	case a := <-answers:
		t.Errorf("answered while another was writing: %+v", a)
	default:
	}
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.status != "201 Created" || a.err != nil {
		t.Errorf("answer %+v", a)
	}
}

// OrdersRecoversFromADatabaseOutage tests that the service tells of the outage, and needs no restart.
func (k Stack) OrdersRecoversFromADatabaseOutage(t *testing.T) {
	server := testenv.PostgresServer(t)
	settings, _ := Settings(t, Bare)
	settings.DatabaseURL = server.URL()
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	base := Start(t, orders)
	const body = `{"customerId":"c","amount":1}`

	server.StopImmediate()
	status, h := readiness(t, base)
	if status != http.StatusServiceUnavailable || h.Database.Status != "unreachable" {
		t.Errorf("%d %+v", status, h)
	}
	res, text := Exchange(t, http.MethodPost, base+"/orders", body)
	if code, _ := Refused(t, "POST without a database", res, text, http.StatusServiceUnavailable); code != "unavailable" {
		t.Errorf("code %s", code)
	}
	server.Start()
	testenv.Eventually(t, Patience, "orders to be taken again", func() bool {
		status, _ := Ask(t, http.MethodPost, base+"/orders", body)
		return status == http.StatusCreated
	})
}

// RunFailsWithoutADatabaseItCanUse tests that what waiting does not cure ends the service.
func (k Stack) RunFailsWithoutADatabaseItCanUse(t *testing.T) {
	for _, c := range []struct {
		about  string
		on     Platform
		change func(*service.Settings)
		is     error
		says   string
	}{
		{"schema missing on PostgreSQL", Servers, func(s *service.Settings) { s.AutoMigrate = false }, outbox.ErrSchema, "schema"},
		{"schema missing on SQLite", Bare, func(s *service.Settings) { s.AutoMigrate = false }, outbox.ErrSchema, "schema"},
		{"no such database", Servers, func(s *service.Settings) { s.DatabaseURL = replaced(t, s.DatabaseURL, "/none") }, nil, "3D000"},
		{"no such folder", Bare, func(s *service.Settings) { s.DatabaseURL += "/none/orders.db" }, nil, "unable to open database file"},
		{"nobody answers", Bare, func(s *service.Settings) {
			s.DatabaseURL, s.StartTimeout = "postgres://app:hunter2@127.0.0.1:1/orders", 1
		}, nil, "has not answered"},
	} {
		t.Run(c.about, func(t *testing.T) {
			settings, _ := Settings(t, c.on)
			settings.Addr = "127.0.0.1:0"
			c.change(&settings)
			orders, err := k.Orders(settings)
			if err != nil {
				t.Fatal(err)
			}
			err = orders.Run(t.Context(), nil)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("Run returned %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("the error tells a password: %v", err)
			}
		})
	}
}

// RunCanBeCalledOffWhileItWaitsForTheDatabase tests that waiting ends with the context.
func (k Stack) RunCanBeCalledOffWhileItWaitsForTheDatabase(t *testing.T) {
	settings, logs := Settings(t, Bare)
	settings.DatabaseURL, settings.Addr = "postgres://127.0.0.1:1/orders", "127.0.0.1:0"
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- orders.Run(ctx, nil) }()
	testenv.Eventually(t, Patience, "the service to wait", func() bool {
		return strings.Contains(logs.String(), "waiting for the database")
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func replaced(t *testing.T, raw, path string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = path
	return u.String()
}
