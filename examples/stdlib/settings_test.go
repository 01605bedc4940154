package stdlib_test

import (
	"bytes"
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
