package orders

import (
	"embed"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
)

//go:embed sql
var sqlFiles embed.FS

// Schema returns the migrations of the table orders, which keep their history
// in orders_schema.
func Schema(d outbox.Dialect) *sqlstore.Migrations {
	return sqlstore.NewMigrations(sqlFiles, d, "orders_schema")
}
