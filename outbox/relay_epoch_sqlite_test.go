package outbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// A file is replaced while connections have it open: they go on with one that
// nobody else sees, until the relay notices.
func TestRelayNoticesAReplacedSQLiteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "outbox.db")
	ob, db := file.newOutboxAt(t, sqlite.URL(path))
	b := &broker{}
	var log logBuffer
	cfg := withoutSweep()
	cfg.Logger = log.logger()
	relay := newRelay(t, ob, b, cfg)
	start(t, relay)
	early := keyed("early", 5)
	enqueue(t, ob, early...)
	awaitStatus(t, ob, Published, early...)
	db.MustExec(`VACUUM INTO '` + filepath.Join(dir, "backup.db") + `'`)
	goFar(t, ob, b, relay)
	for _, remains := range []string{path + "-wal", path + "-shm"} {
		if err := os.Remove(remains); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "backup.db"), path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the relay to notice", func() bool { return relay.Health().Resets > 0 })
	if !strings.Contains(log.String(), "the database file was replaced") {
		t.Errorf("the log does not tell why:\n%s", log.String())
	}
	requireOut(t, outboxOf(t, file.connect(t, sqlite.URL(path))), b)
}

// A backup is restored into the file that is open, with everything in it older
// than a renewal.
func TestRelayNoticesARestoredSQLiteFile(t *testing.T) {
	t.Parallel()
	ob, db := file.newOutbox(t)
	b := &broker{}
	relay := newRelay(t, ob, b, withoutSweep())
	start(t, relay)
	early := keyed("early", 5)
	enqueue(t, ob, early...)
	awaitStatus(t, ob, Published, early...)
	db.MustExec(`CREATE TABLE backup AS SELECT * FROM outbox_messages`)
	db.MustExec(`CREATE TABLE leases AS SELECT * FROM outbox_leases`)
	db.MustExec(`CREATE TABLE relays AS SELECT * FROM outbox_relays`)
	requireBehind(t, ob, b, relay, func() {
		commitStatements(t, db, `DELETE FROM outbox_messages`, `DELETE FROM outbox_leases`, `DELETE FROM outbox_relays`,
			`INSERT INTO outbox_messages SELECT * FROM backup`, `INSERT INTO outbox_leases SELECT * FROM leases`,
			`INSERT INTO outbox_relays SELECT * FROM relays`, `UPDATE sqlite_sequence SET seq = 5 WHERE name = 'outbox_messages'`)
	})
	if n := relay.Health().Resets; n == 0 {
		t.Error("health counts no reset")
	}
}
