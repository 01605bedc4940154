package orders

import (
	"embed"
	"strings"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
)

//go:embed sql
var sqlFiles embed.FS

//go:embed sql/postgres/rights.sql
var rights string

// Schema returns the migrations of the table orders, which keep their history
// in orders_schema.
func Schema(d outbox.Dialect) *sqlstore.Migrations {
	return sqlstore.NewMigrations(sqlFiles, d, "orders_schema")
}

// Rights returns the statements for PostgreSQL that give a role what the service
// does with its own tables, which have to be there. The role's name is one that needs
// no quotes. Those of the outbox are in outbox/roles.
func Rights(role string) string { return strings.ReplaceAll(rights, "ROLE_NAME", role) }
