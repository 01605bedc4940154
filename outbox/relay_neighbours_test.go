package outbox

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// What was stored while the database's clock was an hour ahead holds nobody up
// once it is right: neither leases and signs of life of a relay that died, nor
// messages that were due at once, nor backoffs.
func TestRelayIgnoresTimesFromTheFuture(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		hour := clock(db, "1 hour")
		db.MustExec(`INSERT INTO outbox_relays (owner, host, ttl, expires_at) VALUES ('dead', 'h', 1000, ` + hour + `)`)
		db.MustExec(`UPDATE outbox_leases SET owner = 'dead', token = 7, ttl = 1000, expires_at = ` + hour)
		atOnce, failed, dead := NewMessage("at once", nil), NewMessage("failed", nil), NewMessage("dead", nil)
		late := NewMessage("late", nil)
		late.AvailableAt = databaseClock(t, ob).Add(time.Hour)
		enqueue(t, ob, atOnce, failed, dead, late)
		db.MustExec(`UPDATE outbox_messages SET created_at = ` + hour + ` WHERE topic = 'at once'`)
		db.MustExec(`UPDATE outbox_messages SET available_at = created_at WHERE topic = 'at once'`)
		db.MustExec(`UPDATE outbox_messages SET attempts = 3, available_at = ` + clock(db, "61 minutes") + `, rescheduled_at = ` + hour + ` WHERE topic = 'failed'`)
		db.MustExec(`UPDATE outbox_messages SET attempts = 0, available_at = ` + hour + `, rescheduled_at = ` + hour + ` WHERE topic = 'dead'`)
		if relays, err := ob.Relays(t.Context()); err != nil || len(relays) != 1 || relays[0].Live {
			t.Errorf("%+v, %v: the dead relay is said to live", relays, err)
		}
		b := &broker{}
		var log logBuffer
		cfg := eager()
		cfg.Logger = log.logger()
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		awaitStatus(t, ob, Published, atOnce, failed, dead)
		if got := log.String(); !strings.Contains(got, "have not expired by the database's clock") {
			t.Errorf("it is not said:\n%s", got)
		}
		if r := record(t, ob, late); r.Status != Pending {
			t.Errorf("what the producer has delayed is %s", r.Status)
		}
		if h := relay.Health(); h.State != RelayRunning || h.Leases != 64 || h.Unserved != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// A relay lives on when the clock is set back an hour and ahead again, and
// nobody takes its leases; what it holds back is retried as before.
func TestRelaySurvivesChangesOfTheClock(t *testing.T) {
	t.Parallel()
	url := postgres.create(t)
	admin := postgres.connect(t, url)
	set := func(offset string) {
		for _, name := range []string{"clock_timestamp", "statement_timestamp", "now"} {
			admin.MustExec(`CREATE OR REPLACE FUNCTION public.` + name + `() RETURNS timestamptz LANGUAGE sql STABLE
				AS $$ SELECT pg_catalog.` + name + `() + interval '` + offset + `' $$`)
		}
	}
	set("1 hour")
	admin.MustExec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$`)
	ob, _ := postgres.newOutboxAt(t, url)
	var log logBuffer
	refuse := make(map[uuid.UUID]bool)
	b := &broker{judge: func(m Message) error {
		if m.Topic == "refused" && !refuse[m.ID] {
			refuse[m.ID] = true
			return Rejected(nil)
		}
		return nil
	}}
	cfg := sharing("a")
	cfg.Logger = log.logger()
	relay, other := newRelay(t, ob, b, cfg), newRelay(t, ob, b, sharing("b"))
	start(t, relay)
	start(t, other)
	awaitLeases(t, map[*Relay]int{relay: 32, other: 32})
	said := 0
	for _, offset := range []string{"0", "2 hours", "-30 minutes"} {
		refused, m := NewMessage("refused", nil), NewMessage("m", nil)
		enqueue(t, ob, refused)
		eventually(t, "a refusal", func() bool { return b.triesOf(refused) > 0 })
		set(offset)
		enqueue(t, ob, m)
		awaitStatus(t, ob, Published, refused, m)
		said++
		eventually(t, "that to be said", func() bool { return strings.Count(log.String(), "the database's clock was set ") == said })
	}
	awaitLeases(t, map[*Relay]int{relay: 32, other: 32})
	if n := relay.Health().Fenced + other.Health().Fenced; n != 0 {
		t.Errorf("%d verdicts were refused", n)
	}
}

// Rows of leases are seeds that somebody may remove: they are made again, before
// the relay starts and while it runs.
func TestRelayCreatesMissingLeases(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		for _, lose := range []string{`DELETE FROM outbox_leases`, `DELETE FROM outbox_leases WHERE bucket % 3 = 0`, `DELETE FROM outbox_relays`} {
			t.Run(lose, func(t *testing.T) {
				ob, db := d.newOutbox(t)
				db.MustExec(lose)
				b := &broker{}
				relay := newRelay(t, ob, b, sharing("a"))
				start(t, relay)
				msgs := topical("before", 50)
				enqueue(t, ob, msgs...)
				awaitStatus(t, ob, Published, msgs...)
				db.MustExec(lose)
				msgs = topical("after", 50)
				enqueue(t, ob, msgs...)
				awaitStatus(t, ob, Published, msgs...)
				awaitLeases(t, map[*Relay]int{relay: 64})
			})
		}
	})
}

// A schema that was copied without its rows works at once: Migrate writes its
// history anew, and relays make their leases.
func TestRelayWorksInASchemaWithoutRows(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		for _, table := range []string{"outbox_messages", "outbox_leases", "outbox_relays", "outbox_audit", "outbox_pauses", "outbox_schema"} {
			db.MustExec(`DELETE FROM ` + table)
		}
		if err := ob.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema: %v", err)
		}
		if applied, err := ob.Migrate(t.Context()); err != nil || len(applied) != 0 {
			t.Errorf("Migrate: %v, %v", applied, err)
		}
		if steps, err := ob.Migrations(t.Context()); err != nil || steps[len(steps)-1].AppliedAt.IsZero() {
			t.Errorf("%+v, %v", steps, err)
		}
		start(t, newRelay(t, ob, &broker{}, eager()))
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		awaitStatus(t, ob, Published, m)
	})
}
