package outbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// whole are contracts, in versions 1 and 2, of payloads that are objects.
type whole struct{}

func (whole) Newest(m wire.Message) int {
	if m.Type == "OrderCreated" {
		return 2
	}
	return 0
}

func (whole) Check(m wire.Message) error {
	switch {
	case m.Version < 1 || m.Version > 2:
		return fmt.Errorf("$: no version %d of %s", m.Version, m.Type)
	case !strings.HasPrefix(string(m.Payload), "{"):
		return errors.New("$: is no object")
	}
	return nil
}

// A message that breaks its contract makes Enqueue fail before anything is
// stored, and the transaction can go on.
func TestEnqueueChecksContracts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		_, db := d.newOutbox(t)
		ob, err := New(db, WithContracts(whole{}))
		if err != nil {
			t.Fatal(err)
		}
		of := func(eventType, payload string, version int) Message {
			m := NewMessage("order.created", []byte(payload))
			m.Type, m.Version = eventType, version
			return m
		}
		newest, older := of("OrderCreated", "{}", 0), of("OrderCreated", "{}", 1)
		older.Headers = map[string]string{"tenant": "acme"}
		commit(t, ob, func(tx *sqlx.Tx) {
			err := ob.Enqueue(t.Context(), tx, newest, of("OrderCreated", "[]", 0), of("Other", "{}", 0), of("OrderCreated", "{}", 3), of("OrderCreated", "{}", -1))
			for _, says := range []string{"invalid message 1", "Payload: $: is no object", "invalid message 2", "Payload: $: no version 0 of Other",
				"no version 3 of OrderCreated", "Version: -1; must be"} {
				if !errors.Is(err, ErrInvalidMessage) || !strings.Contains(err.Error(), says) {
					t.Errorf("error %v; want %q", err, says)
				}
			}
			if err := ob.Enqueue(t.Context(), tx, newest, older); err != nil { // many in a statement
				t.Fatal(err)
			}
			if err := ob.Enqueue(t.Context(), tx, of("OrderCreated", "{}", 2)); err != nil { // one
				t.Fatal(err)
			}
		})
		page, err := ob.List(t.Context(), ListQuery{OldestFirst: true})
		if err != nil || len(page.Records) != 3 {
			t.Fatalf("%d records, %v", len(page.Records), err)
		}
		for i, want := range []int{2, 1, 2} {
			r := page.Records[i]
			if r.Version != want || r.Headers[wire.HeaderVersion] != "" || r.Wire("").Version != want {
				t.Errorf("record %d has version %d, headers %v; want version %d", i, r.Version, r.Headers, want)
			}
		}
		if page.Records[1].Headers["tenant"] != "acme" || len(older.Headers) != 1 {
			t.Errorf("headers %v, the caller's %v", page.Records[1].Headers, older.Headers)
		}
	})
}

// A version goes from Enqueue, or a row in plain SQL, to the publisher.
func TestRelayPublishesVersion(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		m, bare := NewMessage("a", nil), NewMessage("b", nil)
		m.Version, m.Headers = 7, map[string]string{"tenant": "acme"}
		enqueue(t, ob, m, bare)
		db.MustExec(`UPDATE outbox_messages SET headers = '{"pulse-version":"3"}' WHERE topic = 'b'`)
		b := &broker{}
		start(t, newRelay(t, ob, b, eager()))
		awaitStatus(t, ob, Published, m, bare)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.taken) != 2 {
			t.Errorf("%d messages", len(b.taken))
		}
		for _, sent := range b.taken {
			want := map[string]int{"a": 7, "b": 3}[sent.Topic]
			if sent.Version != want || sent.Headers[wire.HeaderVersion] != "" {
				t.Errorf("%s: version %d, headers %v; want version %d", sent.Topic, sent.Version, sent.Headers, want)
			}
		}
	})
}

// Without contracts a version travels unchecked.
func TestVersionWithoutContracts(t *testing.T) {
	ob, _ := file.newOutbox(t)
	m := NewMessage("order.created", nil)
	m.Version = 7
	enqueue(t, ob, m, NewMessage("order.created", nil))
	page, err := ob.List(t.Context(), ListQuery{OldestFirst: true})
	if err != nil || len(page.Records) != 2 || page.Records[0].Version != 7 || page.Records[1].Version != 0 || page.Records[1].Headers != nil {
		t.Errorf("records %+v, %v", page.Records, err)
	}
}
