package reconcile_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	topic    = "order.created"
	consumer = "notifications"
	day      = 24 * time.Hour
)

// queues is a broker whose queues hold what a test sets.
type queues struct {
	reconcile.Queues
	letters []reconcile.DeadLetter
	refuse  error // of reading dead letters
	read    int   // how often they were
	hidden  bool  // who gets messages is not counted
	looks   int
	onLook  func(n int) // called before each look
}

func (q *queues) Look(context.Context) (reconcile.Queues, error) {
	q.looks++
	if q.onLook != nil {
		q.onLook(q.looks)
	}
	seen := q.Queues
	seen.DeadLettered = len(q.letters)
	return seen, nil
}

func (q *queues) CountsHolders(context.Context) (bool, error) { return !q.hidden, nil }

func (q *queues) DeadLetters(_ context.Context, each func(reconcile.DeadLetter) error) error {
	q.read++
	if q.refuse != nil {
		return q.refuse
	}
	for _, d := range q.letters {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

// databases are both databases, filled by the test.
type databases struct {
	t          *testing.T
	comparison reconcile.Comparison
	queues     *queues
}

// eachDatabase runs test once on each kind of database.
func eachDatabase(t *testing.T, test func(t *testing.T, b *databases)) {
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		test(t, newDatabases(t, sqlite.URL(filepath.Join(dir, "orders.db")), sqlite.URL(filepath.Join(dir, "notifications.db"))))
	})
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newDatabases(t, testenv.Postgres(t), testenv.Postgres(t))) })
}

func onSQLite(t *testing.T) *databases {
	t.Helper()
	dir := t.TempDir()
	return newDatabases(t, sqlite.URL(filepath.Join(dir, "orders.db")), sqlite.URL(filepath.Join(dir, "notifications.db")))
}

func newDatabases(t *testing.T, outboxURL, inboxURL string) *databases {
	t.Helper()
	open := func(url string) *sqlx.DB {
		db, _, err := database.Open(url, "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	b := &databases{t: t, queues: &queues{Queues: reconcile.Queues{Unacked: -1}}}
	b.comparison = reconcile.Comparison{OutboxDB: open(outboxURL), InboxDB: open(inboxURL), Broker: b.queues,
		Queue: topic, Consumer: consumer, Topics: []string{topic}, EffectsPerEvent: 1, OutboxRetention: 7 * day, InboxRetention: 30 * day,
		Pause: 10 * time.Millisecond}
	ob, err := outbox.New(b.comparison.OutboxDB)
	b.must(err)
	_, err = ob.Migrate(t.Context())
	b.must(err)
	in, err := inbox.New(b.comparison.InboxDB, consumer)
	b.must(err)
	_, err = in.Migrate(t.Context())
	b.must(err)
	_, err = orders.Schema(outbox.Dialect(b.dialect())).Up(t.Context(), b.comparison.OutboxDB)
	b.must(err)
	_, err = notifications.Schema(outbox.Dialect(b.dialect())).Up(t.Context(), b.comparison.InboxDB)
	b.must(err)
	b.comparison.Orders, err = reconcile.FindColumn(t.Context(), b.comparison.OutboxDB, "orders", "", "orders.event_id")
	b.must(err)
	b.comparison.Effects, err = reconcile.FindColumn(t.Context(), b.comparison.InboxDB, "effects", "", "notifications.event_id")
	b.must(err)
	return b
}

func (b *databases) dialect() sqldb.Dialect {
	d, err := sqldb.Detect(b.comparison.OutboxDB.DriverName())
	b.must(err)
	return d
}

func (b *databases) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *databases) exec(db *sqlx.DB, query string, args ...any) {
	b.t.Helper()
	_, err := db.ExecContext(b.t.Context(), query, args...)
	b.must(err)
}

// ago is a time of the past as an argument for the database.
func (b *databases) ago(d time.Duration) any { return b.dialect().Time(time.Now().Add(-d)) }

// newID returns a UUIDv7 of that age.
func newID(age time.Duration) string {
	id := uuid.Must(uuid.NewV7())
	ms := time.Now().Add(-age).UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	return id.String()
}

// event is one that a test commits; its zero value is published and new.
type event struct {
	topic   string // order.created unless given
	status  outbox.Status
	age     time.Duration
	noOrder bool
	noRow   bool // the outbox row is purged, or was never there
	failed  bool // pending after a failure
	delayed bool // pending until tomorrow
	payload string
}

// commit writes order and outbox row as e says, and returns the event's id.
func (b *databases) commit(e event) (id string) {
	b.t.Helper()
	return b.commitAs(newID(e.age), e)
}

func (b *databases) commitAs(id string, e event) string {
	b.t.Helper()
	if e.topic == "" {
		e.topic = topic
	}
	if e.status == "" {
		e.status = outbox.Published
	}
	if !e.noOrder {
		b.exec(b.comparison.OutboxDB, `INSERT INTO orders (id, event_id, customer_id, amount_cents, correlation_id, created_at) VALUES ($1, $2, 'c', 1, 'x', $3)`,
			uuid.NewString(), id, b.ago(e.age))
	}
	if e.noRow {
		return id
	}
	var published, discarded any
	attempts, available := 0, b.ago(e.age)
	switch e.status {
	case outbox.Published:
		published = b.ago(e.age)
	case outbox.Discarded:
		discarded = b.ago(e.age)
	case outbox.Dead:
		attempts = 1
	}
	if e.failed {
		attempts = 2
	}
	if e.delayed {
		available = b.ago(-day)
	}
	columns, bucket := "", ""
	if b.dialect() == sqldb.SQLite {
		columns, bucket = ", bucket", ", 0"
	}
	b.exec(b.comparison.OutboxDB, `INSERT INTO outbox_messages (id, topic, type, payload, status, attempts, created_at, available_at, published_at, discarded_at`+columns+`)
		VALUES ($1, $2, 'T', $3, $4, $5, $6, $7, $8, $9`+bucket+`)`,
		id, e.topic, []byte(e.payload), string(e.status), attempts, b.ago(e.age), available, published, discarded)
	return id
}

// apply writes what the inbox records.
func (b *databases) apply(id string) string { return b.applyAs(id, topic, 0) }

func (b *databases) applyAs(id, topic string, age time.Duration) string {
	b.t.Helper()
	hash := sha256.Sum256(nil)
	b.exec(b.comparison.InboxDB, `INSERT INTO processed_events (consumer, event_id, topic, payload_hash, processed_at) VALUES ('notifications', $1, $2, $3, $4)`,
		id, topic, hash[:], b.ago(age))
	return id
}

// effect writes notifications.
func (b *databases) effect(id string, n int) string { return b.effectOf(id, n, 0) }

func (b *databases) effectOf(id string, n int, age time.Duration) string {
	b.t.Helper()
	for range n {
		b.exec(b.comparison.InboxDB, `INSERT INTO notifications (id, order_id, event_id, customer_id, amount_cents, correlation_id, created_at) VALUES ($1, $2, $3, 'c', 1, 'x', $4)`,
			uuid.NewString(), uuid.NewString(), id, b.ago(age))
	}
	return id
}

// handled is an event that was published and applied.
func (b *databases) handled() string { return b.effect(b.apply(b.commit(event{})), 1) }

// verify compares, and waits as long as needed for messages in flight.
func (b *databases) verify(patience time.Duration) *reconcile.Report {
	b.t.Helper()
	r, err := b.comparison.Verify(b.t.Context(), patience)
	b.must(err)
	b.t.Cleanup(func() { b.must(r.Close()) })
	return r
}

// require checks verdict and findings: kinds, and the ids of each.
func require(t *testing.T, r *reconcile.Report, verdict string, want map[reconcile.Kind][]string) {
	t.Helper()
	if r.Verdict() != verdict {
		t.Errorf("verdict %q, want %q; waiting %q, notes %q", r.Verdict(), verdict, r.Waiting, r.Notes)
	}
	got := map[reconcile.Kind][]string{}
	for _, f := range r.Findings() {
		for id, err := range f.IDs() {
			if err != nil {
				t.Fatal(err)
			}
			got[f.Kind] = append(got[f.Kind], id)
		}
		slices.Sort(got[f.Kind])
	}
	for _, k := range reconcile.Kinds() {
		ids := slices.Sorted(slices.Values(want[k]))
		if !slices.Equal(got[k], ids) {
			t.Errorf("%s: got %s\nwant %s", k, fmt.Sprint(got[k]), fmt.Sprint(ids))
		}
	}
}
