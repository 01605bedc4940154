package reconcile_test

import (
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// patience bounds a comparison.
const patience = time.Minute

type findings = map[reconcile.Kind][]string

// Each kind of fault is created next to an event without faults, and found.
func TestVerifyFindings(t *testing.T) {
	for name, plant := range map[string]func(b *databases) (verdict string, want findings){
		"nothing": func(b *databases) (string, findings) { return "ok", nil },
		"a lost event": func(b *databases) (string, findings) {
			id := b.commit(event{})
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"a lost event without an order": func(b *databases) (string, findings) {
			id := b.commit(event{noOrder: true})
			return "lost and events without order", findings{reconcile.Lost: {id}, reconcile.EventWithoutOrder: {id}}
		},
		"an order that never had an event": func(b *databases) (string, findings) {
			id := b.commit(event{noRow: true})
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEvent: {id}}
		},
		"an order whose event was purged": func(b *databases) (string, findings) {
			b.effect(b.apply(b.commit(event{noRow: true})), 1)
			return "ok", nil
		},
		"two surplus effects": func(b *databases) (string, findings) {
			id := b.effect(b.apply(b.commit(event{})), 3)
			return "duplicated", findings{reconcile.Duplicated: {id}}
		},
		"seven effects deleted": func(b *databases) (string, findings) {
			var ids []string
			for range 7 {
				ids = append(ids, b.apply(b.commit(event{})))
			}
			return "effects missing", findings{reconcile.AppliedWithoutEffect: ids, reconcile.OrderWithoutEffect: ids}
		},
		"three effects without an order": func(b *databases) (string, findings) {
			var ids []string
			for range 3 {
				ids = append(ids, b.effect(newID(0), 1))
			}
			ids = append(ids, b.effect(uuid.NewString(), 1)) // of no known age
			return "effects without order and foreign", findings{reconcile.EffectWithoutOrder: ids, reconcile.Foreign: ids}
		},
		"ids that were made by hand": func(b *databases) (string, findings) {
			// They look like those of 1970, and of years ago.
			lost := b.commitAs("00000000-0000-7000-8000-000000000001", event{})
			old := b.commitAs(newID(400*day), event{})
			foreign := b.effect(b.apply("00000000-0000-7000-8000-000000000002"), 1)
			return "lost, effects without order and foreign", findings{reconcile.Lost: {lost, old}, reconcile.OrderWithoutEffect: {lost, old},
				reconcile.EffectWithoutOrder: {foreign}, reconcile.Foreign: {foreign}}
		},
		"an order that waited for long before it was published": func(b *databases) (string, findings) {
			id := b.commit(event{})
			b.exec(b.comparison.OutboxDB, `UPDATE orders SET created_at = $1 WHERE event_id = $2`, b.ago(40*day), id)
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"an inbox row of nobody's": func(b *databases) (string, findings) {
			id := b.apply("orders-42-created")
			return "effects missing and foreign", findings{reconcile.AppliedWithoutEffect: {id}, reconcile.Foreign: {id}}
		},
		"order and event taken back, as by a failover": func(b *databases) (string, findings) {
			id := b.effect(b.apply(newID(0)), 1)
			return "effects without order and foreign", findings{reconcile.EffectWithoutOrder: {id}, reconcile.Foreign: {id}}
		},
		"an order deleted": func(b *databases) (string, findings) {
			id := b.effect(b.apply(b.commit(event{noOrder: true})), 1)
			return "effects without order and events without order", findings{reconcile.EffectWithoutOrder: {id}, reconcile.EventWithoutOrder: {id}}
		},
		"an effect beside the inbox": func(b *databases) (string, findings) {
			id := b.effect(b.commit(event{}), 1)
			return "effects without inbox row", findings{reconcile.EffectWithoutInbox: {id}}
		},
		"lost and duplicated": func(b *databases) (string, findings) {
			lost, twice := b.commit(event{}), b.effect(b.apply(b.commit(event{})), 2)
			return "lost and duplicated", findings{reconcile.Lost: {lost}, reconcile.OrderWithoutEffect: {lost}, reconcile.Duplicated: {twice}}
		},
		"dead and discarded events": func(b *databases) (string, findings) {
			b.commit(event{status: outbox.Dead})
			b.commit(event{status: outbox.Discarded})
			return "ok", nil
		},
		"an event that is not due yet": func(b *databases) (string, findings) {
			b.commit(event{status: outbox.Pending, delayed: true})
			return "ok", nil
		},
		"a dead letter": func(b *databases) (string, findings) {
			id := b.commit(event{payload: "{}"})
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonHandler, Body: []byte("{}")}}
			return "ok", nil
		},
		"a dead letter under the queue's name, and one without": func(b *databases) (string, findings) {
			one, two := b.commit(event{}), b.commit(event{})
			b.queues.letters = []reconcile.DeadLetter{{ID: two}, {ID: one, Consumer: topic, Reason: inbox.ReasonContract}}
			return "ok", nil
		},
		"a conflict's dead letter": func(b *databases) (string, findings) {
			id := b.commit(event{payload: "{}"})
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonConflict, Body: []byte("forged")}}
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"a conflict over an order whose row was purged": func(b *databases) (string, findings) {
			id := b.commit(event{noRow: true}) // which body was the true one nobody can say
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonConflict, Body: []byte("forged")}}
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEvent: {id}}
		},
		"a conflict that came first": func(b *databases) (string, findings) {
			id := b.effect(b.apply(b.commit(event{payload: "{}"})), 1) // applied with an empty body
			return "conflicting", findings{reconcile.Conflicting: {id}}
		},
		"a conflict that came first, and the true one's dead letter": func(b *databases) (string, findings) {
			id := b.effect(b.apply(b.commit(event{payload: "{}"})), 1)
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonConflict, Body: []byte("{}")}}
			return "conflicting", findings{reconcile.Conflicting: {id}}
		},
		"a conflict over an event that was applied": func(b *databases) (string, findings) {
			id := b.handled()
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonConflict, Body: []byte("forged")}}
			return "ok", nil
		},
		"a body that was decompressed": func(b *databases) (string, findings) {
			var compressed bytes.Buffer
			b.must(gzip.NewWriter(&compressed).Close())
			b.effect(b.apply(b.commit(event{payload: compressed.String()})), 1)
			return "ok", nil
		},
		"bodies that the consumer reads otherwise": func(b *databases) (string, findings) {
			b.comparison.IgnoreBodies = true
			b.effect(b.apply(b.commit(event{payload: "encrypted"})), 1)
			return "ok", nil
		},
		"a dead letter of another body": func(b *databases) (string, findings) {
			id := b.commit(event{payload: "{}"})
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: consumer, Reason: inbox.ReasonUndecodable, Body: []byte("<xml/>")}}
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"a dead letter of another consumer": func(b *databases) (string, findings) {
			id := b.commit(event{})
			b.queues.letters = []reconcile.DeadLetter{{ID: id, Consumer: "billing", Reason: inbox.ReasonHandler}}
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"a dead letter of another event, and one without an id": func(b *databases) (string, findings) {
			id := b.commit(event{})
			b.queues.letters = []reconcile.DeadLetter{{ID: newID(0), Consumer: consumer}, {Consumer: consumer}}
			return "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}}
		},
		"what retention may have removed": func(b *databases) (string, findings) {
			b.commit(event{age: 31 * day})                                     // inbox row purged
			b.commit(event{age: 40 * day, noRow: true})                        // both purged
			b.effectOf(b.commit(event{age: 31 * day, noRow: true}), 1, 31*day) // only the effect is left
			b.effectOf(newID(31*day), 1, 31*day)                               // and nothing else
			return "ok", nil
		},
		"another topic's events": func(b *databases) (string, findings) {
			b.commit(event{topic: "order.paid", noOrder: true})
			b.applyAs(b.commit(event{topic: "order.paid", noOrder: true}), "order.paid", 0)
			b.effect(b.applyAs(newID(0), "invoice.sent", 0), 0)
			return "ok", nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDatabase(t, func(t *testing.T, b *databases) {
				b.handled()
				verdict, want := plant(b)
				r := b.verify(patience)
				require(t, r, verdict, want)
				if !r.Settled() {
					t.Errorf("not settled: %q", r.Waiting)
				}
			})
		})
	}
}
