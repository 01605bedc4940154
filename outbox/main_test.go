package outbox

import (
	"os"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(migrateVariable); url != "" {
		migrateAndExit(url)
	}
	testenv.Main(m)
}

// newOutbox returns an empty, migrated outbox in a database of the test's own.
func newOutbox(t testing.TB) (*Outbox, *sqlx.DB) {
	t.Helper()
	ob, db := unmigrated(t)
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, db
}

// unmigrated returns an outbox in a database without tables.
func unmigrated(t testing.TB) (*Outbox, *sqlx.DB) {
	t.Helper()
	db := openDB(t, testenv.Postgres(t))
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	return ob, db
}

func openDB(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// inTx runs do in a transaction that is rolled back.
func inTx(t testing.TB, ob *Outbox, do func(tx *sqlx.Tx) error) error {
	t.Helper()
	tx := ob.db.MustBegin()
	defer tx.Rollback()
	return do(tx)
}

// commit runs do in a transaction that is committed.
func commit(t testing.TB, ob *Outbox, do func(tx *sqlx.Tx)) {
	t.Helper()
	tx := ob.db.MustBegin()
	defer tx.Rollback()
	do(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// enqueue stores msgs in a transaction of their own.
func enqueue(t testing.TB, ob *Outbox, msgs ...Message) {
	t.Helper()
	commit(t, ob, func(tx *sqlx.Tx) {
		if err := ob.Enqueue(t.Context(), tx, msgs...); err != nil {
			t.Fatal(err)
		}
	})
}
