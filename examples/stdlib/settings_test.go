package stdlib_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

func TestFromEnvServesOnPortsOfItsOwn(t *testing.T) {
	lookup := func(name string) (string, bool) {
		switch name {
		case "PULSE_AMQP_URL":
			return "amqp://broker/", true
		case "PULSE_AUTH":
			return "off", true
		case "PULSE_OUTBOX_DB", "PULSE_INBOX_DB":
			return "sqlite:/var/lib/service.db", true
		}
		return "", false
	}
	orders, err := stdlib.OrdersFromEnv(lookup, new(bytes.Buffer))
	if err != nil || orders.Addr != "127.0.0.1:6101" {
		t.Errorf("orders: %+v, %v", orders.Settings, err)
	}
	notifications, err := stdlib.NotificationsFromEnv(lookup, new(bytes.Buffer))
	if err != nil || notifications.Addr != "127.0.0.1:6102" {
		t.Errorf("notifications: %+v, %v", notifications.Settings, err)
	}
}

func TestOrdersFromEnvReadsTheAudience(t *testing.T) {
	for _, c := range []struct{ audience, management, problem string }{
		{"order.created=billing, order.created=shipping", "http://guest:hunter2@broker:15672", ""},
		{"order.created", "http://guest:hunter2@broker:15672", "PULSE_AUDIENCE: \"order.created\" is not TOPIC=QUEUE"},
		{"order.created=billing", "", "PULSE_MANAGEMENT_URL: is empty"},
	} {
		values := map[string]string{
			"PULSE_AMQP_URL": "amqp://broker/", "PULSE_AUTH": "off", "PULSE_OUTBOX_DB": "sqlite:/var/lib/service.db",
			"PULSE_AUDIENCE": c.audience, "PULSE_MANAGEMENT_URL": c.management,
		}
		orders, err := stdlib.OrdersFromEnv(func(name string) (string, bool) { v := values[name]; return v, v != "" }, new(bytes.Buffer))
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v, want %q", c.audience, err, c.problem)
			}
		} else if want := []string{"billing", "shipping"}; err != nil || !slices.Equal(orders.Audiences["order.created"], want) || orders.ManagementURL != c.management {
			t.Errorf("%+v, %v", orders.Settings, err)
		}
	}
}

func TestNewNamesTheProblems(t *testing.T) {
	bad := stdlib.Settings{AMQPURL: "http://broker/"}
	_, ordersErr := stdlib.NewOrders(stdlib.OrdersConfig{Settings: bad})
	_, notificationsErr := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: bad})
	for _, err := range []error{ordersErr, notificationsErr} {
		if err == nil || !strings.Contains(err.Error(), "DatabaseURL:") || !strings.Contains(err.Error(), "AMQPURL:") {
			t.Errorf("%v names not both fields", err)
		}
	}
}

// What the libraries refuse is refused, and nothing that was begun goes on:
// the leak check of this package says so.
func TestNewRefusesWhatTheLibrariesRefuse(t *testing.T) {
	good := stdlib.Settings{DatabaseURL: "postgres://127.0.0.1:1/orders", AMQPURL: exampletest.Nobody}
	if _, err := stdlib.NewOrders(stdlib.OrdersConfig{Settings: good, Relay: outbox.RelayConfig{Lanes: -1}}); err == nil {
		t.Error("a relay with -1 lanes")
	}
	if _, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: good, Consumer: inbox.ConsumerConfig{Workers: -1}}); err == nil {
		t.Error("a consumer with -1 workers")
	}
	if _, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: good, RetryDelays: []time.Duration{-1}}); err == nil {
		t.Error("negative retry delays")
	}
}
