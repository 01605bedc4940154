package orders

import (
	"embed"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

//go:embed sql
var sqlFiles embed.FS

// Schema returns the migrations of the table orders, which keep their history
// in orders_schema.
func Schema(d sqldb.Dialect) *sqldb.Migrator {
	return sqldb.NewMigrator(sqlFiles, "sql", d, "orders_schema")
}
