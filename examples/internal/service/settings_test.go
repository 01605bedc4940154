package service_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func TestFromEnv(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(secret, []byte("postgres://app:hunter2@db:5432/orders\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	cfg, err := service.OrdersFromEnv(environment(map[string]string{
		"PULSE_OUTBOX_DB_FILE": secret,
		"PULSE_AMQP_URL":       "amqp://app:hunter2@broker/",
		"PULSE_ORDERS_ADDR":    "0.0.0.0:7000",
		"PULSE_LOG_LEVEL":      "warn",
		"PULSE_AUTH":           "off",
		"PULSE_RATE_LIMIT":     "600/m",
	}), &logs, "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DatabaseURL != "postgres://app:hunter2@db:5432/orders" || cfg.AMQPURL != "amqp://app:hunter2@broker/" ||
		cfg.Addr != "0.0.0.0:7000" || !cfg.AutoMigrate || cfg.Auth != nil || cfg.Limits != (api.Limits{All: 10}) {
		t.Errorf("settings %+v", cfg)
	}
	cfg.Logger.Info("unheard")
	if cfg.Logger.Warn("heard"); strings.Contains(logs.String(), "unheard") || !strings.Contains(logs.String(), "heard") {
		t.Errorf("logs %s", &logs)
	}
	notifications, err := service.NotificationsFromEnv(environment(map[string]string{
		"PULSE_INBOX_DB":     "sqlite:/var/lib/notifications.db",
		"PULSE_AMQP_URL":     "amqp://broker/",
		"PULSE_AUTO_MIGRATE": "false",
		"PULSE_TOPOLOGY":     "verify",
		"PULSE_AUTH":         "off",
	}), &logs, "127.0.0.1:7")
	if err != nil || notifications.Addr != "127.0.0.1:7" || notifications.AutoMigrate || notifications.Topology != rabbitmq.Verify {
		t.Errorf("settings %+v, %v", notifications, err)
	}
}

func TestFromEnvNamesEveryProblemAndNoSecret(t *testing.T) {
	bad := environment(map[string]string{
		"PULSE_OUTBOX_DB":          "postgres://app:hunter2@db:port/orders",
		"PULSE_INBOX_DB_FILE":      "/does/not/exist",
		"PULSE_AMQP_URL":           "http://app:hunter2@broker/",
		"PULSE_AMQP_CERT_FILE":     "/does/not/exist",
		"PULSE_ORDERS_ADDR":        "nowhere",
		"PULSE_NOTIFICATIONS_ADDR": "127.0.0.1:99999",
		"PULSE_AUTO_MIGRATE":       "perhaps",
		"PULSE_TOPOLOGY":           "perhaps",
		"PULSE_LOG_LEVEL":          "loud",
		"PULSE_LOG_FORMAT":         "xml",
		"PULSE_AUTH":               "perhaps",
		"PULSE_RATE_LIMIT":         "10/h",
	})
	shared := []string{"PULSE_AMQP_URL:", "PULSE_AMQP_CA_FILE:", "PULSE_AUTO_MIGRATE:", "PULSE_TOPOLOGY:", "PULSE_LOG_LEVEL:", "PULSE_LOG_FORMAT:", "PULSE_AUTH:", "PULSE_RATE_LIMIT:"}
	_, ordersErr := service.OrdersFromEnv(bad, new(bytes.Buffer), "127.0.0.1:7")
	_, notificationsErr := service.NotificationsFromEnv(bad, new(bytes.Buffer), "127.0.0.1:7")
	for _, c := range []struct {
		err  error
		also []string
	}{
		{ordersErr, []string{"PULSE_OUTBOX_DB:", "PULSE_ORDERS_ADDR:"}},
		{notificationsErr, []string{"PULSE_INBOX_DB_FILE:", "PULSE_NOTIFICATIONS_ADDR:"}},
	} {
		if c.err == nil {
			t.Fatal("no error")
		}
		lines := strings.Split(c.err.Error(), "\n")
		if want := len(shared) + len(c.also); len(lines) != want {
			t.Errorf("%d problems, want %d:\n%v", len(lines), want, c.err)
		}
		for _, name := range append(c.also, shared...) {
			if !strings.Contains(c.err.Error(), name) {
				t.Errorf("%v\ndoes not name %s", c.err, name)
			}
		}
		if strings.Contains(c.err.Error(), "hunter2") {
			t.Errorf("the error tells a password: %v", c.err)
		}
	}
	if _, err := service.OrdersFromEnv(environment(nil), new(bytes.Buffer), "127.0.0.1:7"); err == nil ||
		!strings.Contains(err.Error(), "PULSE_AUTH: nothing says") || !strings.Contains(err.Error(), "PULSE_OUTBOX_DB: is empty") || !strings.Contains(err.Error(), "PULSE_AMQP_URL: is empty") {
		t.Errorf("an empty environment: %v", err)
	}
}

func TestCompleteNamesEveryProblemAndNoSecret(t *testing.T) {
	_, err := service.Complete(service.Settings{
		DatabaseURL: "postgres://app:hunter2@db/orders@x", AMQPURL: "amqp://app:hun%zter2@broker/",
		Exchange: strings.Repeat("x", 256), Addr: ":http", StartTimeout: -1, ShutdownTimeout: -1,
	}, "orders", "127.0.0.1:7")
	for _, field := range []string{"DatabaseURL:", "AMQPURL:", "Exchange:", "Addr:", "StartTimeout:", "ShutdownTimeout:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v\ndoes not name %s", err, field)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun%")) {
		t.Errorf("the error tells a password: %v", err)
	}
}
