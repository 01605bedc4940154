package relay

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// A producer in any language wakes the process as the contract says.
func TestNotifyChannel(t *testing.T) {
	url := testenv.Postgres(t)
	db := open(t, url)
	migrate(t, db)
	p := run(t, Config{
		DatabaseURL: url, NotifyChannel: "pulse_outbox", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), StartTimeout: patience,
		Publisher: outboxrabbit.PublisherConfig{
			URL: devbroker.NewTest(t).URL(), Exchange: "shop", Producer: "shop", AllowUnroutable: func(string) bool { return true },
		},
		Relay: outbox.RelayConfig{PollInterval: time.Hour, SweepInterval: time.Hour},
	})
	testenv.Eventually(t, patience, "a relay with all leases, and a listener", func() bool {
		up, _ := p.listener.Health()
		return up && p.relay.Health().Leases == 64
	})
	for i := range 3 {
		key := fmt.Sprint("order-", i)
		db.MustExec(`INSERT INTO outbox_messages (topic, type, key, payload) VALUES ('t', 'T', $1, '')`, key)
		db.MustExec(contractBlock(t, "SELECT pg_notify"))
		testenv.Eventually(t, patience, key, func() bool { return look(t, db, key).Status == "published" })
	}
}

func TestNotifyChannelNeedsPostgreSQL(t *testing.T) {
	_, err := New(Config{
		DatabaseURL: "sqlite:" + t.TempDir() + "/shop.db", NotifyChannel: "pulse_outbox", Logger: slog.New(slog.DiscardHandler),
		Publisher: outboxrabbit.PublisherConfig{URL: "amqp://127.0.0.1:1"},
	})
	if err == nil || !strings.Contains(err.Error(), "SQLite has no notifications") {
		t.Error(err)
	}
}
