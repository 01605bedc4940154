package exampletest

import (
	"path/filepath"
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// Platform is what the services run on. Its URLs are of an empty database and
// an empty broker of the test's own.
type Platform struct {
	Name     string
	Database func(testing.TB) string
	Broker   func(testing.TB) string
}

var (
	// Servers are the real ones.
	Servers = Platform{"PostgreSQL and RabbitMQ", testenv.Postgres, testenv.RabbitMQ}
	// Bare needs nothing but this process.
	Bare = Platform{"SQLite and the dev broker",
		func(t testing.TB) string { return sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "service.db")) },
		func(t testing.TB) string { return devbroker.NewTest(t).URL() },
	}
)

// OnEachPlatform runs test on Servers and on none.
func OnEachPlatform(t *testing.T, test func(t *testing.T, on Platform)) {
	for _, on := range []Platform{Bare, Servers} {
		t.Run(on.Name, func(t *testing.T) { test(t, on) })
	}
}
