package stdlib

import (
	"embed"

	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
)

//go:embed sql
var sqlFiles embed.FS

// store is a service's own database, with the service's queries in its dialect.
type store struct {
	*service.Database
	queries sqlstore.Queries
}

func openStore(s service.Settings, name string) (*store, error) {
	db, err := service.OpenDatabase(s, name)
	if err != nil {
		return nil, err
	}
	return &store{Database: db, queries: sqlstore.LoadQueries(sqlFiles, db.Dialect)}, nil
}
