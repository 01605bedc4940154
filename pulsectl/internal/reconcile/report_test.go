package reconcile_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

func TestVerifyCounts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, b *databases) {
		for range 3 {
			b.handled()
		}
		b.commit(event{status: outbox.Dead})
		b.commit(event{status: outbox.Discarded})
		b.commit(event{status: outbox.Pending, delayed: true})
		b.commit(event{age: 31 * day})
		b.effect(b.apply(b.commit(event{noRow: true})), 1)
		b.commit(event{topic: "order.paid", noOrder: true})
		b.commit(event{topic: "order.paid", noOrder: true, status: outbox.Pending})
		b.applyAs(newID(0), "order.paid", 0)
		b.queues.Retrying = 2
		b.queues.letters = []reconcile.DeadLetter{{}, {}, {}}
		r := b.verify(patience)
		require(t, r, "ok", nil)
		if b.queues.read > 0 {
			t.Error("dead letters were read although nothing is missing")
		}
		got := fmt.Sprintf("orders %d outbox %d published %d pending %d dead %d discarded %d inFlight %d applied %d effects %d deadLettered %d delayed %d newer %d old %d compared %d",
			r.Orders, r.Outbox, r.Published, r.Pending, r.Dead, r.Discarded, r.InFlight, r.Applied, r.Effects, r.DeadLettered, r.Delayed, r.Newer, r.Old, r.Compared)
		const want = "orders 8 outbox 7 published 4 pending 1 dead 1 discarded 1 inFlight 2 applied 4 effects 4 deadLettered 3 delayed 1 newer 0 old 1 compared 7"
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		wantTopics := []reconcile.TopicCounts{
			{Topic: topic, Compared: true, Outbox: 7, Published: 4, Pending: 1, Dead: 1, Discarded: 1, Applied: 4},
			{Topic: "order.paid", Outbox: 2, Published: 1, Pending: 1, Applied: 1},
		}
		if !slices.Equal(r.Topics, wantTopics) {
			t.Errorf("topics %+v\nwant   %+v", r.Topics, wantTopics)
		}
		if notes := strings.Join(r.Notes, "; "); notes != "1 events are older than the retention: their rows may have been purged; 1 pending events are not due yet" {
			t.Errorf("notes %q", notes)
		}
	})
}

func TestVerifySeveralTopics(t *testing.T) {
	b := onSQLite(t)
	b.comparison.Effects = nil
	b.comparison.Topics = []string{topic, "order.paid"}
	b.apply(b.commit(event{}))
	b.applyAs(b.commit(event{topic: "order.paid", noOrder: true}), "order.paid", 0)
	lost := b.commit(event{topic: "order.paid", noOrder: true})
	r := b.verify(patience)
	require(t, r, "lost", findings{reconcile.Lost: {lost}})
	if i := slices.IndexFunc(r.Topics, func(c reconcile.TopicCounts) bool { return c.Topic == "order.paid" }); r.Topics[i].Lost != 1 || r.Topics[i].Applied != 1 || r.Topics[1-i].Lost != 0 {
		t.Errorf("topics %+v", r.Topics)
	}
}

// More events than any buffer holds, on every side: found all the same, in
// order and completely.
func TestVerifyMany(t *testing.T) {
	const n = 12_000
	b := onSQLite(t)
	// Every third is applied, every third a dead letter; the queue is in no order.
	var ids, applied, lost []string
	for i := range n {
		id := newID(0)
		ids = append(ids, id)
		switch i % 3 {
		case 0:
			applied = append(applied, id)
		case 1:
			b.queues.letters = append(b.queues.letters, reconcile.DeadLetter{ID: id, Body: []byte("{}")})
		default:
			lost = append(lost, id)
		}
	}
	list := func(ids []string) string {
		text, err := json.Marshal(ids)
		b.must(err)
		return string(text)
	}
	b.exec(b.comparison.OutboxDB, `INSERT INTO outbox_messages (id, topic, type, payload, status, published_at, bucket)
		SELECT value, 'order.created', 'T', '{}', 'published', $1, 0 FROM json_each($2)`, b.ago(0), list(ids))
	b.exec(b.comparison.InboxDB, `INSERT INTO processed_events (consumer, event_id, payload_hash) SELECT 'notifications', value, zeroblob(32) FROM json_each($1)`, list(applied))
	b.exec(b.comparison.InboxDB, `INSERT INTO notifications (id, order_id, event_id, customer_id, amount_cents, correlation_id)
		SELECT value, 'o', value, 'c', 1, 'x' FROM json_each($1)`, list(applied))
	b.comparison.Orders = nil
	slices.Reverse(b.queues.letters)
	b.queues.letters = append(b.queues.letters, b.queues.letters...) // each twice
	r := b.verify(patience)
	require(t, r, "lost", findings{reconcile.Lost: lost})
	if r.UnappliedDeadLetters != n/3 || r.Applied != n/3 || b.queues.read != 1 {
		t.Errorf("dead-lettered %d, applied %d, read %d times", r.UnappliedDeadLetters, r.Applied, b.queues.read)
	}
	if first := r.Findings()[0].First(3); !slices.Equal(first, lost[:3]) {
		t.Errorf("first %v, want %v", first, lost[:3])
	}
}

func TestParseColumn(t *testing.T) {
	for text, ok := range map[string]bool{
		"orders.event_id": true, "shop.orders.event_id": true, "orders.event_id:placed_at": true, `Orders.EventID`: true,
		"orders": false, "": false, "a.b.c.d": false, "orders.": false, "orders.event_id:": false,
		`orders.id; DROP TABLE orders`: false, `"orders".id`: false, "orders.event id": false, "1orders.id": false,
	} {
		c, err := reconcile.ParseColumn(text)
		if (err == nil) != ok || ok && c.String() != text {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestFindColumn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, b *databases) {
		for text, want := range map[string]struct {
			name string
			have string
		}{
			"orders.event_id":            {},
			"order.event_id":             {"order", "orders"},
			"orders.evnt_id":             {"orders.evnt_id", "event_id"},
			"orders.event_id:made_at":    {"orders.made_at", "created_at"},
			"orders.event_id:created_at": {},
		} {
			c, err := reconcile.FindColumn(t.Context(), b.comparison.OutboxDB, "--orders-table", text, "")
			if want.name == "" {
				if err != nil || c == nil || c.Time != "created_at" {
					t.Errorf("%s: %v, %v", text, c, err)
				}
				continue
			}
			missing, ok := err.(*reconcile.NameError)
			if !ok || missing.Name != want.name || !slices.Contains(missing.Have, want.have) {
				t.Errorf("%s: %#v", text, err)
			}
		}
		for text, fallback := range map[string]string{"none": "orders.event_id", "": "bills.event_id"} {
			if c, err := reconcile.FindColumn(t.Context(), b.comparison.OutboxDB, "", text, fallback); c != nil || err != nil {
				t.Errorf("%q or else %s: %v, %v", text, fallback, c, err)
			}
		}
	})
}
