package notifications

import (
	"embed"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

//go:embed sql
var sqlFiles embed.FS

// Schema returns the migrations of the table notifications, which keep their
// history in notifications_schema.
func Schema(d sqldb.Dialect) *sqldb.Migrator {
	return sqldb.NewMigrator(sqlFiles, "sql", d, "notifications_schema")
}
