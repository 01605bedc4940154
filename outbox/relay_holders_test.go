package outbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Lease rows that a session keeps locked are neither waited for nor passed
// over in silence: the others are served, and the session is named.
func TestRelayReportsLockedLeases(t *testing.T) {
	t.Parallel()
	ob, db := postgres.newOutbox(t)
	b := &broker{}
	holder := db.MustBegin()
	defer holder.Rollback()
	holder.MustExec(`SET LOCAL application_name = 'somebody at a desk'`)
	holder.MustExec(`SELECT 1 FROM outbox_leases WHERE bucket < 3 FOR UPDATE`)
	relay := newRelay(t, ob, b, sharing("a"))
	start(t, relay)
	eventually(t, "the holder to be named", func() bool {
		h := relay.Health()
		return h.Leases == 61 && h.Unserved == 3 && h.State == RelayDegraded && strings.Contains(h.LastError.Error(), "somebody at a desk") &&
			strings.Contains(h.LastError.Error(), "3 leases")
	})
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	awaitLeases(t, map[*Relay]int{relay: 64})
	eventually(t, "the relay to recover", func() bool { h := relay.Health(); return h.State == RelayRunning && h.Unserved == 0 })

	// Rows that it holds itself cannot be renewed: the others are.
	holder = db.MustBegin()
	defer holder.Rollback()
	holder.MustExec(`SELECT 1 FROM outbox_leases WHERE bucket < 3 FOR UPDATE`)
	eventually(t, "the holder to be named again", func() bool {
		h := relay.Health()
		return h.State == RelayDegraded && strings.Contains(h.LastError.Error(), "3 leases cannot be renewed")
	})
	var served []Message
	for i := range 200 {
		m := NewMessage("t", nil)
		m.Key = fmt.Sprint(i)
		served = append(served, m)
	}
	enqueue(t, ob, served...)
	eventually(t, "what others hold to be published", func() bool { return b.count() > 150 })
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, ob, Published, served...)
}

// A message that a session keeps locked when its verdict is to be stored: the
// relay says who, and stores the verdict once it can.
func TestRelayReportsALockedMessage(t *testing.T) {
	t.Parallel()
	url := postgres.create(t)
	ob, db := postgres.newOutboxAt(t, url)
	s := newStage()
	relay := newRelay(t, ob, s, patient())
	relay.store = relay.store.With(sqldb.Settings{LockTimeout: 50 * time.Millisecond, ByIndex: true})
	start(t, relay)
	m := NewMessage("m", nil)
	enqueue(t, ob, m)
	call := s.next(t)
	holder := db.MustBegin()
	defer holder.Rollback()
	holder.MustExec(`SET LOCAL application_name = 'somebody at a desk'`)
	holder.MustExec(`SELECT 1 FROM outbox_messages FOR UPDATE`)
	call.accept()
	eventually(t, "the holder to be named", func() bool {
		err := relay.Health().LastError
		return err != nil && strings.Contains(err.Error(), "somebody at a desk") && strings.Contains(err.Error(), m.ID.String())
	})
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, ob, Published, m)
	if h := relay.Health(); h.Fenced != 0 {
		t.Errorf("%+v", h)
	}
}

// Verdicts that the database refuses although the leases hold are not sent
// again and again without a word.
func TestRelayReportsVerdictsThatAreNeverStored(t *testing.T) {
	t.Parallel()
	ob, db := postgres.newOutbox(t)
	db.MustExec(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		CREATE TRIGGER keep BEFORE UPDATE ON outbox_messages FOR EACH ROW EXECUTE FUNCTION keep()`)
	relay := newRelay(t, ob, &broker{}, eager())
	start(t, relay)
	m := NewMessage("m", nil)
	enqueue(t, ob, m)
	eventually(t, "the relay to say so", func() bool {
		h := relay.Health()
		return h.State == RelayDegraded && strings.Contains(fmt.Sprint(h.LastError), "verdicts are not stored")
	})
	db.MustExec(`DROP TRIGGER keep ON outbox_messages`)
	awaitStatus(t, ob, Published, m)
	eventually(t, "the relay to recover", func() bool { return relay.Health().State == RelayRunning })
}

// Old rows that cannot be deleted are said to grow.
func TestRelayReportsAPurgeWithoutProgress(t *testing.T) {
	t.Parallel()
	ob, db := postgres.newOutbox(t)
	cfg := eager()
	cfg.Retention, cfg.PurgeInterval = time.Millisecond, 20*time.Millisecond
	relay := newRelay(t, ob, &broker{}, cfg)
	db.MustExec(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		CREATE TRIGGER keep BEFORE DELETE ON outbox_messages FOR EACH ROW EXECUTE FUNCTION keep()`)
	start(t, relay)
	enqueue(t, ob, topical("m", 5)...)
	eventually(t, "the relay to say so", func() bool {
		h := relay.Health()
		return h.State == RelayDegraded && strings.Contains(fmt.Sprint(h.LastError), "5 old messages cannot be deleted")
	})
	db.MustExec(`DROP TRIGGER keep ON outbox_messages`)
	eventually(t, "the relay to recover", func() bool { return relay.Health().State == RelayRunning })
	if n := number(t, db, `SELECT count(*) FROM outbox_messages`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
