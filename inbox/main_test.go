package inbox_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	runCrashingChild()
	goleak.VerifyTestMain(m)
}

// patience is how long tests wait for what has to happen.
const patience = 30 * time.Second

// eachDatabase runs test once on each kind of database: an empty one of the
// test's own.
func eachDatabase(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("PostgreSQL", func(t *testing.T) { test(t, testenv.Postgres(t)) })
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteFile(t)) })
}

// sqliteFile returns the URL of a file that is not there yet.
func sqliteFile(t testing.TB) string { return sqlite.URL(filepath.Join(t.TempDir(), "inbox.db")) }

// newInbox returns an empty inbox of the consumer "notifications" in the
// database at url, beside a table effects without any unique key.
func newInbox(t testing.TB, url string, opts ...inbox.Option) (*inbox.Inbox, *sqlx.DB) {
	t.Helper()
	db := openDB(t, url)
	in, err := inbox.New(db, "notifications", opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	counter := "bigserial PRIMARY KEY"
	if dialect(db) == inbox.SQLite {
		counter = "integer PRIMARY KEY AUTOINCREMENT"
	}
	mustExec(t, db, `CREATE TABLE IF NOT EXISTS effects (n `+counter+`, event_id text NOT NULL, key text NOT NULL)`)
	return in, db
}

func openDB(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func dialect(db *sqlx.DB) inbox.Dialect {
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		panic(err)
	}
	return inbox.Dialect(d)
}

// ago returns a time of the past as an argument for the database.
func ago(db *sqlx.DB, d time.Duration) any {
	return sqldb.Dialect(dialect(db)).Time(time.Now().Add(-d))
}

func mustExec(t testing.TB, db sqlx.ExecerContext, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// record is the handler whose effect only the inbox keeps single.
func record(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id, key) VALUES ($1, $2)`, msg.ID, msg.Key)
	return err
}

// events returns n messages, spread over the given number of keys.
func events(n, keys int) []inbox.Message {
	msgs := make([]inbox.Message, n)
	for i := range msgs {
		msgs[i] = event(i)
		msgs[i].Key = fmt.Sprintf("customer-%d", i%keys)
	}
	return msgs
}

// event returns message number i, without a key.
func event(i int) inbox.Message {
	return inbox.Message{
		ID: fmt.Sprintf("event-%05d", i), Topic: "order.created", Type: "OrderCreated",
		Payload: fmt.Appendf(nil, `{"order":%d}`, i), ContentType: "application/json",
		CorrelationID: fmt.Sprintf("correlation-%d", i), OccurredAt: time.Unix(1_700_000_000+int64(i), 0),
	}
}

// wantOnce fails t unless each event was applied exactly once.
func wantOnce(t testing.TB, db *sqlx.DB, msgs []inbox.Message) {
	t.Helper()
	inboxtest.RequireCount(t, db, len(msgs), `SELECT count(*) FROM effects`)
	inboxtest.RequireCount(t, db, len(msgs), `SELECT count(DISTINCT event_id) FROM effects`)
	inboxtest.RequireCount(t, db, len(msgs), `SELECT count(*) FROM processed_events`)
}

// running is a consumer that a test has started.
type running struct {
	*inbox.Consumer
	t    testing.TB
	end  context.CancelFunc
	done chan error
}

// consume starts a consumer, which ends with the test at the latest.
func consume(t testing.TB, in *inbox.Inbox, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) *running {
	t.Helper()
	quiet(t, &cfg)
	c, err := inbox.NewConsumer(in, s, h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, c)
}

// quiet sends the consumer's log to the test's output and makes retries quick.
func quiet(t testing.TB, cfg *inbox.ConsumerConfig) {
	w := &outputUntilEnd{w: t.Output()}
	t.Cleanup(w.close)
	cfg.Logger = slog.New(slog.NewTextHandler(w, nil))
	if cfg.Backoff == nil {
		cfg.Backoff = func(int) time.Duration { return time.Millisecond }
	}
}

// outputUntilEnd takes nothing once its test has ended: a handler that was left
// behind returns when it likes, and that is logged.
type outputUntilEnd struct {
	mu sync.Mutex
	w  io.Writer // nil: the test has ended
}

func (o *outputUntilEnd) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(line), nil
	}
	return o.w.Write(line)
}

func (o *outputUntilEnd) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = nil
}

func start(t testing.TB, c *inbox.Consumer) *running {
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Consumer: c, t: t, end: end, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop ends the consumer and returns once it has returned. Calling it again
// does nothing.
func (r *running) stop() {
	r.t.Helper()
	r.end()
	r.wait()
}

// wait returns once the consumer has.
func (r *running) wait() {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		r.t.Fatalf("the consumer has not returned after %v; health %+v", patience, r.Health())
	}
}

// eventually waits for a condition that no signal announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	testenv.Eventually(t, patience, what, cond)
}

// await returns once the channel is closed.
func await(t testing.TB, what string, closed <-chan struct{}) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatalf("timed out after %v waiting for %s", patience, what)
	}
}
