package reconcile_test

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// An unknown name is refused, with a list of those that exist.
func TestVerifyMistypedNames(t *testing.T) {
	for name, tc := range map[string]struct {
		mistype func(b *databases)
		what    string
		have    string
	}{
		"topic":             {func(b *databases) { b.comparison.Topics, b.comparison.Orders = []string{"order.craeted"}, nil }, "topic", topic},
		"one of two topics": {func(b *databases) { b.comparison.Topics = []string{topic, "order.piad"} }, "topic", "order.paid"},
		"consumer":          {func(b *databases) { b.comparison.Consumer = "notification" }, "consumer", consumer},
		"queue":             {func(b *databases) { b.queues.Missing = []string{topic} }, "queue", topic},
	} {
		t.Run(name, func(t *testing.T) {
			b := onSQLite(t)
			b.handled()
			b.commit(event{topic: "order.paid", noOrder: true})
			tc.mistype(b)
			r, err := b.comparison.Verify(t.Context(), patience)
			missing, ok := errors.AsType[*reconcile.NameError](err)
			if !ok || missing.What != tc.what || !slices.Contains(missing.Have, tc.have) {
				t.Errorf("%v of %#v, report %+v", err, missing, r)
			}
			if r != nil {
				defer r.Close()
			}
		})
	}
}

// A running consumer is known, even if it has applied nothing yet.
func TestVerifyIdleConsumer(t *testing.T) {
	b := onSQLite(t)
	b.commit(event{})
	b.exec(b.comparison.InboxDB, `INSERT INTO processed_events (consumer, event_id, payload_hash) VALUES ('another', 'e', zeroblob(32))`)
	b.reports("a", 0, 0)
	b.queues.Ready = 1
	r := b.verify(time.Second)
	require(t, r, "not settled", nil)
}

// Without a comparison there is no verdict.
func TestVerifyNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		fill func(b *databases)
		says string
	}{
		"empty databases": {func(*databases) {}, `the outbox has no row of topic "order.created", nor has orders`},
		"all is too old": {func(b *databases) {
			b.commit(event{age: 31 * day, status: outbox.Published})
			b.commit(event{age: 32 * day, noRow: true})
		}, "2 events of \"order.created\" are known, all older than the retention"},
		"rows that are deleted when published, without orders": {func(b *databases) {
			b.comparison.Orders, b.comparison.Effects = nil, nil
			b.apply(newID(0))
		}, "1 events of \"order.created\" are known"},
	} {
		t.Run(name, func(t *testing.T) {
			b := onSQLite(t)
			tc.fill(b)
			r, err := b.comparison.Verify(t.Context(), patience)
			if !errors.Is(err, reconcile.ErrNothing) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %q", err, tc.says)
			}
			if r != nil {
				defer r.Close()
			}
		})
	}
}

func TestVerifyWithoutSchema(t *testing.T) {
	b := onSQLite(t)
	b.exec(b.comparison.InboxDB, `DROP TABLE processed_events`)
	if _, err := b.comparison.Verify(t.Context(), 0); !errors.Is(err, inbox.ErrSchema) {
		t.Errorf("no inbox: %v", err)
	}
	b.exec(b.comparison.OutboxDB, `DROP TABLE outbox_messages`)
	if _, err := b.comparison.Verify(t.Context(), 0); !errors.Is(err, outbox.ErrSchema) {
		t.Errorf("no outbox: %v", err)
	}
}

// An inbox of a version that does not record its instances can be compared.
func TestVerifyWithoutInstances(t *testing.T) {
	b := onSQLite(t)
	b.exec(b.comparison.InboxDB, `DROP TABLE inbox_instances`)
	id := b.commit(event{})
	require(t, b.verify(patience), "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}})
	b.queues.Holders = 1
	require(t, b.verify(time.Second), "not settled", nil)
}

// With a client's list of ids, of events or orders, verify names those that do not
// exist.
func TestVerifyAcknowledged(t *testing.T) {
	eachDatabase(t, func(t *testing.T, b *databases) {
		known, paid := b.handled(), b.commit(event{topic: "order.paid", noOrder: true})
		purged := b.effect(b.apply(b.commit(event{noRow: true})), 1)
		var order string
		b.must(b.comparison.OutboxDB.Get(&order, `SELECT CAST(id AS text) FROM orders WHERE event_id = $1`, known))
		gone, applied, goneOrder := newID(0), b.effect(b.apply(newID(0)), 1), uuid.NewString()
		b.comparison.Acknowledged = each(known, order, gone, gone, paid, applied, purged, goneOrder, "no uuid")
		require(t, b.verify(patience), "orders gone, effects without order and foreign", findings{
			reconcile.OrderGone: {gone, applied, goneOrder, "no uuid"}, reconcile.EffectWithoutOrder: {applied}, reconcile.Foreign: {applied}})

		broken := errors.New("the list cannot be read")
		b.comparison.Acknowledged = func(yield func(string, error) bool) { yield("", broken) }
		if _, err := b.comparison.Verify(t.Context(), patience); !errors.Is(err, broken) {
			t.Errorf("a list that cannot be read: %v", err)
		}
	})
}

func each(ids ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// Any service's tables, by whatever names and types, or none at all.
func TestVerifyOtherServices(t *testing.T) {
	eachDatabase(t, func(t *testing.T, b *databases) {
		b.exec(b.comparison.OutboxDB, `CREATE TABLE "Invoices" ("Event" varchar(64), made text)`)
		b.exec(b.comparison.InboxDB, `CREATE TABLE mails (event text, sent_at text)`)
		b.comparison.Topics, b.comparison.Queue = []string{"invoice.sent"}, "mails"
		column := func(text string) *reconcile.Column {
			db := b.comparison.OutboxDB
			if strings.HasPrefix(text, "mails") {
				db = b.comparison.InboxDB
			}
			c, err := reconcile.FindColumn(t.Context(), db, "--orders-table", text, "orders.event_id")
			b.must(err)
			return c
		}
		b.comparison.Orders, b.comparison.Effects = column("Invoices.Event"), column("mails.event")
		commit := func(id string) {
			b.exec(b.comparison.OutboxDB, `INSERT INTO "Invoices" ("Event") VALUES ($1)`, id)
		}
		mail := func(id string) { b.exec(b.comparison.InboxDB, `INSERT INTO mails (event) VALUES ($1)`, id) }
		send := func() string {
			id := b.commit(event{topic: "invoice.sent", noOrder: true})
			commit(id)
			return id
		}
		good, lost, unsent := send(), send(), b.applyAs(send(), "invoice.sent", 0)
		mail(b.applyAs(good, "invoice.sent", 0))
		never := newID(0)
		commit(never)
		require(t, b.verify(patience), "lost and effects missing", findings{reconcile.Lost: {lost, never}, reconcile.OrderWithoutEvent: {never},
			reconcile.OrderWithoutEffect: {lost, unsent}, reconcile.AppliedWithoutEffect: {unsent}})

		// Two bookings for each, or any number.
		mail(good)
		b.comparison.EffectsPerEvent = 2
		half := b.applyAs(send(), "invoice.sent", 0)
		mail(half)
		require(t, b.verify(patience), "lost and effects missing", findings{reconcile.Lost: {lost, never}, reconcile.OrderWithoutEvent: {never},
			reconcile.OrderWithoutEffect: {lost, unsent, half}, reconcile.AppliedWithoutEffect: {unsent, half}})
		b.comparison.EffectsPerEvent = 0
		require(t, b.verify(patience), "lost and effects missing", findings{reconcile.Lost: {lost, never}, reconcile.OrderWithoutEvent: {never},
			reconcile.OrderWithoutEffect: {lost, unsent}, reconcile.AppliedWithoutEffect: {unsent}})

		b.comparison.Orders, b.comparison.Effects = nil, nil
		foreign, other := b.applyAs(newID(0), "invoice.sent", 0), b.applyAs(newID(0), "", 0)
		require(t, b.verify(patience), "lost and foreign", findings{reconcile.Lost: {lost}, reconcile.Foreign: {foreign, other}})
		b.comparison.OtherProducers = true
		require(t, b.verify(patience), "lost", findings{reconcile.Lost: {lost}})
	})
}
