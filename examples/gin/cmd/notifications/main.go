// Command notifications runs the example notifications service of the Gin
// stack on PostgreSQL or SQLite and on RabbitMQ. Its settings come from the
// environment; see gin.NotificationsFromEnv. It exits with 0 after an
// interrupt, 1 when it fails, and 2 when settings are wrong.
//
// notifications pending prints the messages that wait for it and that this version could
// not handle, and exits with 1 if there are any: to be run before it is deployed.
//
// It serves metrics on 127.0.0.1:6212, or on PULSE_METRICS_ADDR, and exports what
// the OTEL_* variables tell; see docs/observability.md.
package main

import (
	"os"

	"github.com/asimalizada/pulse-events/examples/gin"
	"github.com/asimalizada/pulse-events/examples/internal/program"
)

func main() {
	os.Exit(program.Run("notifications", "127.0.0.1:6212", gin.NotificationsFromEnv, gin.NewNotifications))
}
