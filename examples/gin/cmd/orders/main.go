// Command orders runs the example orders service of the Gin stack on
// PostgreSQL or SQLite and on RabbitMQ. Its settings come from the
// environment; see gin.OrdersFromEnv. It exits with 0 after an interrupt, 1
// when it fails, and 2 when settings are wrong.
package main

import (
	"os"

	"github.com/asimalizada/pulse-events/examples/gin"
	"github.com/asimalizada/pulse-events/examples/internal/program"
)

func main() { os.Exit(program.Run("orders", gin.OrdersFromEnv, gin.NewOrders)) }
