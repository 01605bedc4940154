package metrics_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// server is a database of either kind.
type server struct {
	db       *sqlx.DB
	longAgo  string // a time before any retention
	keep     string // makes a trigger that keeps rows of a table
	dropKeep string
}

func openPostgres(t *testing.T) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: testenv.Postgres(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// eachServer runs a test on both kinds, with rows of a table kept by a trigger until
// release is called.
func eachServer(t *testing.T, table string, run func(t *testing.T, s server)) {
	t.Run("PostgreSQL", func(t *testing.T) {
		run(t, server{
			db: openPostgres(t), longAgo: "clock_timestamp() - interval '100 days'",
			keep: `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
				CREATE TRIGGER keep BEFORE DELETE ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION keep()`,
			dropKeep: `DROP TRIGGER keep ON ` + table,
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "service.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		run(t, server{
			db: db, longAgo: "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-100 days')",
			keep:     `CREATE TRIGGER keep BEFORE DELETE ON ` + table + ` BEGIN SELECT RAISE(IGNORE); END`,
			dropKeep: `DROP TRIGGER keep`,
		})
	})
}

// awaitOverdue waits until a metric of one series says so.
func (m *meters) awaitOverdue(t *testing.T, name string, as func(overdue time.Duration) bool) {
	t.Helper()
	var found []point
	defer func() {
		if t.Failed() {
			t.Logf("there is %+v", found)
		}
	}()
	testenv.Eventually(t, patience, name, func() bool {
		found = points(m.collect(t)[name])
		return len(found) == 1 && as(time.Duration(found[0].value*float64(time.Second)))
	})
}

func forMonths(overdue time.Duration) bool { return overdue > 60*24*time.Hour }

func notForLong(overdue time.Duration) bool { return overdue >= 0 && overdue < 24*time.Hour }

// A purge that deletes nothing shows, whatever keeps it from that.
func TestRelayPurgeOverdue(t *testing.T) {
	eachServer(t, "outbox_messages", func(t *testing.T, s server) {
		ob, err := outbox.New(s.db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := newMeters(t)
		enqueue(t, ob, s.db, "order.created", "order.created")
		cfg := relayConfig(m)
		cfg.PurgeInterval = 50 * time.Millisecond
		startRelay(t, ob, &outboxtest.Recorder{}, cfg)
		m.await(t, map[string]float64{"pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}": 2})
		m.awaitOverdue(t, "pulse.outbox.purge.overdue", notForLong)
		s.db.MustExec(s.keep)
		testenv.Eventually(t, patience, "the outcome to be stored", func() bool {
			stats, err := ob.Stats(t.Context())
			return err == nil && stats.Published.N == 2
		})
		s.db.MustExec(`UPDATE outbox_messages SET created_at = ` + s.longAgo + `, published_at = ` + s.longAgo + ` WHERE seq = 1`)
		m.awaitOverdue(t, "pulse.outbox.purge.overdue", forMonths)
		s.db.MustExec(s.dropKeep)
		m.awaitOverdue(t, "pulse.outbox.purge.overdue", notForLong)
	})
}

func TestConsumerPurgeOverdue(t *testing.T) {
	eachServer(t, "processed_events", func(t *testing.T, s server) {
		in, err := inbox.New(s.db, "notifications")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.db.MustExec(s.keep)
		s.db.MustExec(`INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
			VALUES ('notifications', '1', $1, `+s.longAgo+`)`, make([]byte, 32))
		m, handler := newMeters(t), func(context.Context, inbox.Tx, inbox.Message) error { return nil }
		c, err := inbox.NewConsumer(in, inboxtest.NewQueue(), handler, inbox.ConsumerConfig{MeterProvider: m, Logger: quiet, PurgeInterval: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		run(t, c.Run)
		m.awaitOverdue(t, "pulse.inbox.purge.overdue", forMonths)
		s.db.MustExec(s.dropKeep)
		m.awaitOverdue(t, "pulse.inbox.purge.overdue", notForLong)
	})
}

// What is kept for ever is not overdue.
func TestNothingIsOverdueForEver(t *testing.T) {
	m := newMeters(t)
	ob, _ := newOutbox(t)
	cfg := relayConfig(m)
	cfg.Retention = outbox.KeepForever
	startRelay(t, ob, &outboxtest.Recorder{}, cfg)
	m.await(t, map[string]float64{"pulse.outbox.pending": 0})
	if found := m.series(t, "pulse.outbox.purge.overdue"); len(found) != 0 {
		t.Errorf("%v", found)
	}
}

// The gauges of the database, by PostgreSQL's statement.
func TestRelayOnPostgreSQL(t *testing.T) {
	db, m := openPostgres(t), newMeters(t)
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx := db.MustBegin()
	for _, key := range []string{"order-1", "order-1", "order-1", "order-2"} {
		msg := outbox.NewMessage("order.bad", []byte("{}"))
		msg.Key = key
		if err := ob.Enqueue(t.Context(), tx, msg); err != nil {
			t.Fatal(err)
		}
	}
	later := outbox.NewMessage("order.created", []byte("{}"))
	later.AvailableAt = time.Now().Add(time.Hour)
	if err := ob.Enqueue(t.Context(), tx, later); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, ob, db, "order.created", "order.lost", "order.lost")
	broker := &outboxtest.Recorder{}
	broker.Respond(func(msg outbox.Message, _ int) error {
		switch msg.Topic {
		case "order.bad":
			return outbox.Permanent(errors.New("too large"))
		case "order.lost":
			return outbox.Unroutable(nil)
		}
		return nil
	})
	stop := startRelay(t, ob, broker, relayConfig(m))
	m.await(t, map[string]float64{
		"pulse.outbox.pending":            5, // two behind the dead one, two to be retried, one for later
		"pulse.outbox.retrying":           2,
		"pulse.outbox.dead":               2,
		"pulse.outbox.blocked_keys":       2,
		"pulse.outbox.leases":             64,
		"pulse.outbox.buckets.unassigned": 0,
		"pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}": 1,
	})
	m.awaitOverdue(t, "pulse.outbox.oldest_pending.age", func(age time.Duration) bool { return age > 0 && age < 10*patience })
	stop()
	if left := m.series(t, "pulse.outbox.pending", "pulse.outbox.oldest_pending.age", "pulse.outbox.purge.overdue"); len(left) != 0 {
		t.Errorf("of a relay that has stopped: %v", left)
	}
}
