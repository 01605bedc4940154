package stdlib_test

import (
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// platform is what the services run on. Its URLs are of an empty database and
// an empty broker of the test's own.
type platform struct {
	name     string
	database func(testing.TB) string
	broker   func(testing.TB) string
}

var (
	servers = platform{"PostgreSQL and RabbitMQ", testenv.Postgres, testenv.RabbitMQ}
	// bare needs nothing but this process.
	bare = platform{"SQLite and the dev broker",
		func(t testing.TB) string { return sqlite.URL(filepath.Join(t.TempDir(), "service.db")) },
		func(t testing.TB) string { return devbroker.NewTest(t).URL() },
	}
)

// onEachPlatform runs test on servers and on none.
func onEachPlatform(t *testing.T, test func(t *testing.T, on platform)) {
	for _, on := range []platform{bare, servers} {
		t.Run(on.name, func(t *testing.T) { test(t, on) })
	}
}

func dialect(t *testing.T, db *sqlx.DB) sqldb.Dialect {
	t.Helper()
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sameTransaction is a condition on two rows: that one transaction wrote them.
// Only PostgreSQL can tell.
func sameTransaction(t *testing.T, db *sqlx.DB, one, other string) string {
	if dialect(t, db) == sqldb.PostgreSQL {
		return one + ".xmin = " + other + ".xmin"
	}
	return "true"
}
