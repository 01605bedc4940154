package reconcile_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// queues is a broker whose queues hold what a test says.
type queues struct {
	inFlight int
	aside    []string
	unnamed  int
}

func (q *queues) InFlight(context.Context) (int, error) { return q.inFlight, nil }

func (q *queues) SetAside(context.Context) (map[string]bool, int, error) {
	ids := make(map[string]bool)
	for _, id := range q.aside {
		ids[id] = true
	}
	return ids, len(q.aside) + q.unnamed, nil
}

// books are both databases, filled by hand.
type books struct {
	t      *testing.T
	ledger reconcile.Ledger
	queues *queues
}

func newBooks(t *testing.T) *books {
	t.Helper()
	open := func(name string) *sqlx.DB {
		db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), name)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	b := &books{t: t, queues: new(queues)}
	b.ledger = reconcile.Ledger{OutboxDB: open("orders.db"), InboxDB: open("notifications.db"), Broker: b.queues,
		Consumer: "notifications", Topic: "order.created"}
	ob, err := outbox.New(b.ledger.OutboxDB)
	b.must(err)
	_, err = ob.Migrate(t.Context())
	b.must(err)
	in, err := inbox.New(b.ledger.InboxDB, "notifications")
	b.must(err)
	_, err = in.Migrate(t.Context())
	b.must(err)
	_, err = orders.Schema(sqldb.SQLite).Up(t.Context(), b.ledger.OutboxDB)
	b.must(err)
	_, err = notifications.Schema(sqldb.SQLite).Up(t.Context(), b.ledger.InboxDB)
	b.must(err)
	return b
}

func (b *books) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *books) exec(db *sqlx.DB, query string, args ...any) {
	b.t.Helper()
	_, err := db.ExecContext(b.t.Context(), query, args...)
	b.must(err)
}

const clock = `strftime('%Y-%m-%d %H:%M:%f000', 'now')`

// order commits an order with its event; the event's row has the given status.
func (b *books) order(status outbox.Status) (eventID string) {
	b.t.Helper()
	eventID = uuid.Must(uuid.NewV7()).String()
	b.exec(b.ledger.OutboxDB, `INSERT INTO orders (id, event_id, customer_id, amount_cents, correlation_id, created_at) VALUES (?, ?, 'c', 1, 'x', `+clock+`)`,
		uuid.NewString(), eventID)
	msg := outbox.NewMessage("order.created", nil)
	msg.ID = uuid.MustParse(eventID)
	tx, err := b.ledger.OutboxDB.BeginTxx(b.t.Context(), nil)
	b.must(err)
	ob, err := outbox.New(b.ledger.OutboxDB)
	b.must(err)
	b.must(ob.Enqueue(b.t.Context(), tx, msg))
	b.must(tx.Commit())
	switch status {
	case outbox.Published:
		b.exec(b.ledger.OutboxDB, `UPDATE outbox_messages SET status = 'published', published_at = `+clock+` WHERE id = ?`, eventID)
	case outbox.Dead:
		b.exec(b.ledger.OutboxDB, `UPDATE outbox_messages SET status = 'dead', attempts = 1 WHERE id = ?`, eventID)
	}
	return eventID
}

// apply writes what the inbox notes, and effects notifications.
func (b *books) apply(eventID string, effects int) {
	b.t.Helper()
	hash := sha256.Sum256(nil)
	b.exec(b.ledger.InboxDB, `INSERT INTO processed_events (consumer, event_id, payload_hash) VALUES ('notifications', ?, ?)`, eventID, hash[:])
	for range effects {
		b.exec(b.ledger.InboxDB, `INSERT INTO notifications (id, order_id, event_id, customer_id, amount_cents, correlation_id) VALUES (?, 'o', ?, 'c', 1, 'x')`,
			uuid.NewString(), eventID)
	}
}

func (b *books) read() reconcile.Report {
	b.t.Helper()
	r, err := b.ledger.Read(b.t.Context())
	b.must(err)
	return r
}

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		fill func(b *books)
		want reconcile.Report
		says string
	}{
		"nothing": {func(*books) {}, reconcile.Report{}, "ok"},
		"all applied": {func(b *books) {
			b.apply(b.order(outbox.Published), 1)
			b.apply(b.order(outbox.Published), 1)
		}, reconcile.Report{Orders: 2, Outbox: 2, Published: 2, Applied: 2}, "ok"},
		"on the way": {func(b *books) {
			b.order(outbox.Published)
			b.order(outbox.Pending)
			b.queues.inFlight = 1
		}, reconcile.Report{Orders: 2, Outbox: 2, Published: 1, Pending: 1, InFlight: 1}, "ok"},
		"dead and dead-lettered are not lost": {func(b *books) {
			b.order(outbox.Dead)
			b.queues.aside, b.queues.unnamed = []string{b.order(outbox.Published)}, 1
		}, reconcile.Report{Orders: 2, Outbox: 2, Published: 1, Dead: 1, DeadLettered: 2}, "ok"},
		"published and nowhere": {func(b *books) {
			b.apply(b.order(outbox.Published), 1)
			b.order(outbox.Published)
			b.queues.unnamed = 3 // messages without an id excuse none
		}, reconcile.Report{Orders: 2, Outbox: 2, Published: 2, Applied: 1, DeadLettered: 3, Lost: 1}, "lost"},
		"an order whose event was purged and applied": {func(b *books) {
			id := b.order(outbox.Published)
			b.exec(b.ledger.OutboxDB, `DELETE FROM outbox_messages WHERE id = ?`, id)
			b.apply(id, 1)
		}, reconcile.Report{Orders: 1, Applied: 1}, "ok"},
		"an order without a row": {func(b *books) {
			id := b.order(outbox.Pending)
			b.exec(b.ledger.OutboxDB, `DELETE FROM outbox_messages WHERE id = ?`, id)
		}, reconcile.Report{Orders: 1, Lost: 1}, "lost"},
		"two effects of one event": {func(b *books) {
			b.apply(b.order(outbox.Published), 3)
		}, reconcile.Report{Orders: 1, Outbox: 1, Published: 1, Applied: 1, Duplicated: 2}, "duplicated"},
		"both": {func(b *books) {
			b.order(outbox.Published)
			b.apply(b.order(outbox.Published), 2)
		}, reconcile.Report{Orders: 2, Outbox: 2, Published: 2, Applied: 1, Lost: 1, Duplicated: 1}, "lost and duplicated"},
		"what another producer's events did": {func(b *books) {
			b.apply("not-one-of-ours", 1)
			b.apply(b.order(outbox.Published), 1)
		}, reconcile.Report{Orders: 1, Outbox: 1, Published: 1, Applied: 2}, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooks(t)
			tc.fill(b)
			if got := b.read(); got != tc.want || got.Verdict() != tc.says {
				t.Errorf("got  %+v %s\nwant %+v %s", got, got.Verdict(), tc.want, tc.says)
			}
		})
	}
}

// What is older than the inbox's memory is not judged.
func TestReadJudgesOnlyWhatIsRemembered(t *testing.T) {
	b := newBooks(t)
	b.order(outbox.Published)
	b.exec(b.ledger.OutboxDB, `UPDATE outbox_messages SET published_at = '2001-01-01 00:00:00.000000'`)
	b.exec(b.ledger.OutboxDB, `UPDATE orders SET created_at = '2001-01-01 00:00:00.000000'`)
	if r := b.read(); r.Lost != 1 {
		t.Fatalf("without a bound: %+v", r)
	}
	b.ledger.Since = time.Now().Add(-time.Hour)
	if r := b.read(); r.Lost != 0 || r.Published != 1 {
		t.Errorf("with a bound: %+v", r)
	}
}

func TestSettle(t *testing.T) {
	b := newBooks(t)
	id := b.order(outbox.Published)
	b.queues.inFlight = 1
	looks := 0
	r, err := b.ledger.Settle(t.Context(), func(r reconcile.Report) {
		// Seen in the queue; now the consumer takes it.
		if looks++; looks == 1 {
			b.queues.inFlight = 0
			b.apply(id, 1)
		}
	})
	if err != nil || !r.Settled() || r.Applied != 1 || looks < 2 {
		t.Errorf("Settle: %+v after %d looks, %v", r, looks, err)
	}

	b.order(outbox.Pending)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r, err := b.ledger.Settle(ctx, nil); !errors.Is(err, reconcile.ErrUnsettled) || r.Pending != 1 {
		t.Errorf("while a row is pending: %+v, %v", r, err)
	}
}

func TestReadWithoutSchema(t *testing.T) {
	b := newBooks(t)
	b.exec(b.ledger.InboxDB, `DROP TABLE processed_events`)
	if _, err := b.ledger.Read(t.Context()); !errors.Is(err, inbox.ErrSchema) {
		t.Errorf("no inbox: %v", err)
	}
	b.exec(b.ledger.OutboxDB, `DROP TABLE outbox_messages`)
	if _, err := b.ledger.Read(t.Context()); !errors.Is(err, outbox.ErrSchema) {
		t.Errorf("no outbox: %v", fmt.Sprint(err))
	}
}
