package chaos_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// On PostgreSQL and RabbitMQ the databases' links and sessions are under fire as
// well, and nothing of the run is left behind.
func TestRunOnServices(t *testing.T) {
	t.Parallel()
	c := config(t, "")
	db := testenv.Postgres(t)
	c.Servers = &chaos.Servers{OrdersDB: db, EffectsDB: db, Broker: testenv.RabbitMQ(t)}
	if err := c.Servers.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Duration = 5 * time.Second
	at := func(kind chaos.Kind, target string, at time.Duration) chaos.Fault {
		return chaos.Fault{Kind: kind, Target: target, At: at, For: 600 * time.Millisecond}
	}
	c.Faults = []chaos.Fault{
		at(chaos.DatabaseTerminate, "database", 500*time.Millisecond), at(chaos.RelayKill, "relay-1", time.Second),
		at(chaos.LinkPartition, "consumer-1>broker", 1200*time.Millisecond), at(chaos.LinkLoss, "service>database", 2*time.Second),
		at(chaos.LinkStall, "relay-1>database", 2500*time.Millisecond), at(chaos.ConsumerPause, "consumer-1", 3*time.Second),
		at(chaos.DatabaseCredentials, "database", 1700*time.Millisecond), at(chaos.DatabaseClock, "database", 2900*time.Millisecond),
		at(chaos.BrokerDeleteQueue, "broker", 3700*time.Millisecond), at(chaos.DatabaseRevoke, "database", 4400*time.Millisecond),
	}
	r := run(t, c)
	if r.Verdict() != check.Clean || r.Report.Applied == 0 || r.Report.Applied != r.Report.Orders {
		t.Fatalf("the verdict is %s: %+v; crashes %q; faults %+v; waiting for %q", r.Verdict(), r.Report, r.Crashes, r.Faults, r.Waiting)
	}
	left, _, err := database.Open(db, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	var schemas []string
	if err := left.SelectContext(context.Background(), &schemas, `SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pulse_chaos%'`); err != nil || len(schemas) > 0 {
		t.Errorf("left behind: %q, %v", schemas, err)
	}
}

func TestServersCheck(t *testing.T) {
	good := chaos.Servers{OrdersDB: "postgres://a:b@db/x", EffectsDB: "postgresql://db:5433/y", Broker: "amqp://broker/"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	bad := chaos.Servers{OrdersDB: "sqlite:/tmp/x", EffectsDB: "postgres://a:s3cret@one,two/x", Broker: "amqps://broker/"}
	err := bad.Check()
	for _, want := range []string{"sqlite", "one address", "amqps"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

func TestParseServers(t *testing.T) {
	s, err := chaos.ParseServers("postgres://a@db/x, amqp://broker/")
	if err != nil || s.OrdersDB != "postgres://a@db/x" || s.EffectsDB != s.OrdersDB || s.Broker != "amqp://broker/" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = chaos.ParseServers("postgres://a@db/x,amqp://broker/,postgresql://a@db/y"); err != nil || s.EffectsDB != "postgresql://a@db/y" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"postgres://a:s3cret@db/x", "amqp://u:s3cret@b/", "mysql://u:s3cret@db/x,amqp://b/", "postgres://1,postgres://2,postgres://3,amqp://b/"} {
		if _, err := chaos.ParseServers(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Faults that need more than URLs are left out, and named, until it is given.
func TestLeftOut(t *testing.T) {
	c := chaos.Config{Servers: &chaos.Servers{}}
	for _, k := range []chaos.Kind{chaos.BrokerStop, chaos.BrokerKill, chaos.BrokerBlock, chaos.BrokerCredentials, chaos.DatabaseKill, chaos.DatabaseRevoke} {
		if slices.Contains(c.Known(), k) || !slices.Contains(c.LeftOut(), k) {
			t.Errorf("%s without what it needs", k)
		}
	}
	c.Servers = &chaos.Servers{BrokerStop: "a", BrokerStart: "b", Management: "c"}
	for _, k := range []chaos.Kind{chaos.BrokerStop, chaos.BrokerRestart, chaos.BrokerRevoke, chaos.LinkLoss, chaos.DatabaseClock} {
		if !slices.Contains(c.Known(), k) || slices.Contains(c.LeftOut(), k) {
			t.Errorf("%s with all that it needs", k)
		}
	}
	if known := (chaos.Config{}).Known(); slices.Contains(known, chaos.DatabaseClock) || !slices.Contains(known, chaos.BrokerDeleteQueue) {
		t.Errorf("embedded: %v", known)
	}
}
