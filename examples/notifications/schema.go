package notifications

import (
	"embed"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
)

//go:embed sql
var sqlFiles embed.FS

// Schema returns the migrations of the table notifications, which keep their
// history in notifications_schema.
func Schema(d outbox.Dialect) *sqlstore.Migrations {
	return sqlstore.NewMigrations(sqlFiles, d, "notifications_schema")
}
