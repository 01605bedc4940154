// Command notifications runs the example notifications service on PostgreSQL
// or SQLite and on RabbitMQ. Its settings come from the environment; see
// stdlib.NotificationsFromEnv. It exits with 0 after an interrupt, 1 when it
// fails, and 2 when settings are wrong.
package main

import (
	"os"

	"github.com/asimalizada/pulse-events/examples/internal/program"
	"github.com/asimalizada/pulse-events/examples/stdlib"
)

func main() {
	os.Exit(program.Run("notifications", stdlib.NotificationsFromEnv, stdlib.NewNotifications))
}
