package gin

import (
	"io"

	"github.com/asimalizada/pulse-events/examples/internal/service"
)

// Settings are what both services need to know.
type Settings = service.Settings

// OrdersFromEnv reads the settings of the orders service: PULSE_OUTBOX_DB and
// PULSE_AMQP_URL (each also as _FILE), both required; PULSE_AMQP_CA_FILE,
// PULSE_AMQP_CERT_FILE and PULSE_AMQP_KEY_FILE for amqps; PULSE_ORDERS_ADDR,
// PULSE_ALLOWED_HOSTS, PULSE_DRAIN_PERIOD (default 5s), PULSE_AUTO_MIGRATE
// (default true), PULSE_TOPOLOGY (default declare), PULSE_AUDIENCE with
// PULSE_MANAGEMENT_URL (also as _FILE), PULSE_LOG_LEVEL and PULSE_LOG_FORMAT; and those of
// docs/security.md, of which one has to be set. lookup is
// os.LookupEnv or the like; logs is where the logger writes. The error names
// every problem by its variable and holds no secret.
func OrdersFromEnv(lookup func(string) (string, bool), logs io.Writer) (OrdersConfig, error) {
	shared, err := service.OrdersFromEnv(lookup, logs, defaultOrdersAddr)
	return OrdersConfig{Settings: shared}, err
}

// NotificationsFromEnv reads the settings of the notifications service, as
// OrdersFromEnv does, from PULSE_INBOX_DB and PULSE_NOTIFICATIONS_ADDR.
func NotificationsFromEnv(lookup func(string) (string, bool), logs io.Writer) (NotificationsConfig, error) {
	shared, err := service.NotificationsFromEnv(lookup, logs, defaultNotificationsAddr)
	return NotificationsConfig{Settings: shared}, err
}
