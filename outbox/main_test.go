package outbox

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	runChild()
	os.Exit(m.Run())
}

// database is a kind of database that tests run on.
type database struct {
	dialect sqldb.Dialect
	// create makes an empty database that the test has for itself, and returns its URL.
	create func(t testing.TB) string
	open   func(url string) (*sqlx.DB, error)
}

var (
	postgres = database{sqldb.PostgreSQL, testenv.Postgres, func(url string) (*sqlx.DB, error) { return sqlx.Open("pgx", url) }}
	file     = database{sqldb.SQLite, func(t testing.TB) string { return sqlite.URL(filepath.Join(t.TempDir(), "outbox.db")) }, sqlite.Open}
)

// eachDatabase runs test over every dialect.
func eachDatabase(t *testing.T, test func(t *testing.T, d database)) {
	for _, d := range []database{postgres, file} {
		t.Run(string(d.dialect), func(t *testing.T) { test(t, d) })
	}
}

// newOutbox returns an empty, migrated outbox in a database of the test's own.
func (d database) newOutbox(t testing.TB) (*Outbox, *sqlx.DB) {
	t.Helper()
	ob, db := d.unmigrated(t)
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, db
}

// newOutboxAt is newOutbox in the database of a URL.
func (d database) newOutboxAt(t testing.TB, url string) (*Outbox, *sqlx.DB) {
	t.Helper()
	db := d.connect(t, url)
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, db
}

// unmigrated returns an outbox in a database without tables.
func (d database) unmigrated(t testing.TB) (*Outbox, *sqlx.DB) {
	t.Helper()
	db := d.connect(t, d.create(t))
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	return ob, db
}

func (d database) connect(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	db, err := d.open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// databaseAt returns the kind of database that url is of.
func databaseAt(url string) database {
	if sqlite.IsURL(url) {
		return file
	}
	return postgres
}

// queryOf returns the text of a query as it is sent to db.
func queryOf(db *sqlx.DB, name string) string {
	d := dialectOf(db)
	return sqldb.LoadQueries(sqlFiles, "sql", d).In(d, "").Get(name)
}

// listQuery returns what List sends for q, or Get for an id.
func listQuery(db *sqlx.DB, q ListQuery, id uuid.NullUUID) (query string, args []any) {
	d := dialectOf(db)
	text := q.adapt(d, id)(func(name string) string { return queryOf(db, name) }, queryOf(db, "list"))
	return text, append(q.args(d, id), true, 51, listBytes)
}

func dialectOf(db *sqlx.DB) sqldb.Dialect {
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		panic(err)
	}
	return d
}

// bucketColumn is what producers in plain SQL add to a message without a key:
// a column and its value, each after a comma, or nothing.
func (d database) bucketColumn() (column, value string) {
	if d.dialect == sqldb.SQLite {
		return `, bucket`, `, 63`
	}
	return ``, ``
}

// clock is the SQL of the database's clock, moved by a shift such as "-8 days", or "".
func clock(db *sqlx.DB, shift string) string {
	switch {
	case dialectOf(db) == sqldb.PostgreSQL && shift == "":
		return `clock_timestamp()`
	case dialectOf(db) == sqldb.PostgreSQL:
		return `(clock_timestamp() + interval '` + shift + `')`
	case shift == "":
		return `strftime('%Y-%m-%d %H:%M:%f000', 'now')`
	}
	return `strftime('%Y-%m-%d %H:%M:%f000', 'now', '` + shift + `')`
}

// databaseClock reads the clock of an outbox's database.
func databaseClock(t testing.TB, ob *Outbox) time.Time {
	t.Helper()
	var now sqldb.Instant
	if err := ob.db.Get(&now, `SELECT `+clock(ob.db, "")); err != nil {
		t.Fatal(err)
	}
	return now.Time
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
