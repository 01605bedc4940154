package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Scripts in which both databases are behind a PgBouncer in transaction mode.
func TestF31CommandsBehindPooler(t *testing.T) {
	outboxDB, broker := testenv.Postgres, testenv.RabbitMQ
	run(t, "testdata/script/pooler", func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		pooled := func(url string) string { return testenv.PgBouncer(t, url, "server_round_robin = 1") }
		setServices(env, pooled(outboxDB(t)), pooled(testenv.Postgres(t)), broker(t))
		return nil
	})
}
