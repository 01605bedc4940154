package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// TestClaimIdentity: the same id is the same message only if payload, type and topic
// are, as far as they are known.
func TestClaimIdentity(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change   func(m *inbox.Message)
		conflict string // the field; empty: a duplicate
	}{
		"same":                 {func(m *inbox.Message) {}, ""},
		"other payload":        {func(m *inbox.Message) { m.Payload = []byte(`{}`) }, "payload"},
		"other type":           {func(m *inbox.Message) { m.Type = "OrderCancelled" }, "type"},
		"other topic":          {func(m *inbox.Message) { m.Topic = "order.cancelled" }, "topic"},
		"other type and topic": {func(m *inbox.Message) { m.Type, m.Topic = "OrderCancelled", "order.cancelled" }, "type"},
		"type not known":       {func(m *inbox.Message) { m.Type = "" }, ""},
		"topic not known":      {func(m *inbox.Message) { m.Topic = "" }, ""},
		"everything else": {func(m *inbox.Message) {
			m.CorrelationID, m.Producer, m.Key, m.Attempt, m.Headers = "x", "y", "z", 7, map[string]string{"a": "b"}
		}, ""},
		"a long type": {func(m *inbox.Message) { m.Type = strings.Repeat("ü", 1000) }, "type"},
	}
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				mustExec(t, db, `DELETE FROM effects`)
				mustExec(t, db, `DELETE FROM processed_events`)
				first, second := event(1), event(1)
				c.change(&second)

				inboxtest.DeliverTwice(t, in, record, first)
				inboxtest.DeliverTwice(t, in, record, changed(event(2), c.change)) // what was stored is recognized
				outcome, err := in.Once(t.Context(), second, func(context.Context, inbox.Tx) error { return errors.New("it ran") })
				if conflict, ok := errors.AsType[*inbox.ConflictError](err); ok != (c.conflict != "") || ok && conflict.Field != c.conflict {
					t.Errorf("Once: %s, %v; want a conflict in %q", outcome, err, c.conflict)
				}
				tx := db.MustBegin()
				defer tx.Rollback()
				if fresh, err := in.Claim(t.Context(), tx, second); fresh || errors.Is(err, inbox.ErrConflict) != (c.conflict != "") {
					t.Errorf("Claim: %t, %v; want a conflict in %q", fresh, err, c.conflict)
				}
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}

				// Within one batch.
				first, second = event(3), changed(event(3), c.change)
				q := inboxtest.NewQueue()
				q.Publish(first, second)
				consume(t, in, q, record, inbox.ConsumerConfig{Workers: 1, BatchSize: 2, Linger: patience})
				q.WaitUntilEmpty(t)
				inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects WHERE event_id = $1`, first.ID)
				dead := q.DeadLetters()
				if fmt.Sprint(len(dead)) != map[bool]string{true: "1", false: "0"}[c.conflict != ""] {
					t.Errorf("dead letters %+v, want a conflict in %q", dead, c.conflict)
				}
				for _, s := range dead {
					if s.Reason != inbox.ReasonConflict || !strings.Contains(s.Err.Error(), "another "+c.conflict) {
						t.Errorf("dead letter %s: %v", s.Reason, s.Err)
					}
				}
			})
		}
	})
}

func changed(m inbox.Message, change func(*inbox.Message)) inbox.Message {
	change(&m)
	return m
}

// TestClaimIdentityOfOldRows: events that were applied before types were stored
// have none.
func TestClaimIdentityOfOldRows(t *testing.T) {
	eachDriver(t, func(t *testing.T, in *inbox.Inbox, db *sqlx.DB) {
		inboxtest.DeliverTwice(t, in, record, event(1))
		mustExec(t, db, `UPDATE processed_events SET type = NULL`)
		other := event(1)
		other.Type = "OrderCancelled"
		if outcome, err := in.Once(t.Context(), other, func(context.Context, inbox.Tx) error { return nil }); outcome != inbox.Duplicate || err != nil {
			t.Errorf("another type: %s, %v; want a duplicate, as far as is known", outcome, err)
		}
		other.Topic = "order.cancelled"
		if _, err := in.Once(t.Context(), other, func(context.Context, inbox.Tx) error { return nil }); !errors.Is(err, inbox.ErrConflict) {
			t.Errorf("another topic: %v, want a conflict", err)
		}
	})
}
