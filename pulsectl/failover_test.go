package main

import (
	"net/url"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Scripts in which the orders' PostgreSQL fails over to a standby, at an address
// that moves.
func TestF29AsynchronousStandbyPromoted(t *testing.T) {
	run(t, "testdata/script/failover", func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		primary := testenv.PostgresServer(t)
		u, err := url.Parse(primary.URL())
		if err != nil {
			return err
		}
		p := &pair{primary: primary, standby: primary.Standby(), proxy: testenv.NewProxy(t, u.Host)}
		env.Values["pair"] = p
		setServices(env, p.proxy.Through(t, primary.URL()), testenv.Postgres(t), testenv.RabbitMQ(t))
		return nil
	})
}

// pair is a primary and its asynchronous standby.
type pair struct {
	primary *testenv.Server
	standby *testenv.Standby
	proxy   *testenv.Proxy
}

// standby caught-up|detach|promote: the standby has everything, gets nothing more, or
// takes the place of the primary, which is killed.
func standby(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: standby caught-up|detach|promote")
	}
	p := ts.Value("pair").(*pair)
	switch args[0] {
	case "caught-up":
		p.standby.CatchUp()
	case "detach":
		p.standby.Detach()
	case "promote":
		p.primary.Kill()
		p.standby.Promote()
		u, err := url.Parse(p.standby.URL())
		ts.Check(err)
		p.proxy.Retarget(u.Host)
		p.proxy.Cut()
	default:
		ts.Fatalf("unknown: %s", args[0])
	}
}
