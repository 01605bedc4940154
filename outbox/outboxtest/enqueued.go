package outboxtest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
)

// Queryer reads the outbox: a transaction, to see what it has enqueued so far,
// or a database, to see what has been committed. *sql.Tx, *sql.DB and their
// sqlx relatives are Queryers.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Match describes messages. Empty fields match anything.
type Match struct {
	ID              uuid.UUID
	Topic           string
	Type            string
	Key             string
	CorrelationID   string
	CausationID     string
	PayloadContains string            // part of the payload
	Headers         map[string]string // the message has these, and perhaps others
}

// RequireEnqueued returns the one message in the outbox that matches m, whatever its
// state. It fails the test if there is none or more than one.
func RequireEnqueued(t testing.TB, q Queryer, m Match) outbox.Message {
	t.Helper()
	all := enqueued(t, q)
	found := m.filter(all)
	switch len(found) {
	case 0:
		t.Fatalf("no message with %s in the outbox; it holds %s", m, list(all))
	case 1:
		return found[0]
	}
	t.Fatalf("more than one message with %s in the outbox: %s", m, list(found))
	return outbox.Message{}
}

// RequireNothingEnqueued fails the test if a message in the outbox matches m,
// whatever its state. The zero Match matches any message.
func RequireNothingEnqueued(t testing.TB, q Queryer, m Match) {
	t.Helper()
	if found := m.filter(enqueued(t, q)); len(found) > 0 {
		t.Fatalf("the outbox was to hold no message with %s, but holds %s", m, list(found))
	}
}

// enqueued reads the whole outbox of a test, oldest first, in SQL that needs
// no dialect.
func enqueued(t testing.TB, q Queryer) (msgs []outbox.Message) {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), `
		SELECT seq, id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at
		FROM outbox_messages ORDER BY seq`)
	if err != nil {
		t.Fatalf("read the outbox: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m outbox.Message
		var headers string
		if err := rows.Scan(&m.Seq, &m.ID, &m.Topic, &m.Type, &m.Key, &m.Payload, &m.ContentType, &headers,
			&m.CorrelationID, &m.CausationID, &m.OccurredAt, &m.AvailableAt); err != nil {
			t.Fatalf("read the outbox: %v", err)
		}
		if err := json.Unmarshal([]byte(headers), &m.Headers); err != nil {
			t.Fatalf("message %s: headers: %v", m.ID, err)
		}
		m.OccurredAt, m.AvailableAt = m.OccurredAt.UTC(), m.AvailableAt.UTC()
		msgs = append(msgs, m)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("read the outbox: %v", err)
	}
	return msgs
}

func (m Match) filter(msgs []outbox.Message) (found []outbox.Message) {
	for _, msg := range msgs {
		if m.matches(msg) {
			found = append(found, msg)
		}
	}
	return found
}

func (m Match) matches(msg outbox.Message) bool {
	for name, value := range m.Headers {
		if got, ok := msg.Headers[name]; !ok || got != value {
			return false
		}
	}
	is := func(want, got string) bool { return want == "" || want == got }
	return (m.ID == uuid.Nil || m.ID == msg.ID) && is(m.Topic, msg.Topic) && is(m.Type, msg.Type) && is(m.Key, msg.Key) &&
		is(m.CorrelationID, msg.CorrelationID) && is(m.CausationID, msg.CausationID) &&
		strings.Contains(string(msg.Payload), m.PayloadContains)
}

// String returns the fields that are set.
func (m Match) String() string {
	var parts []string
	add := func(field, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf("%s %q", field, value))
		}
	}
	if m.ID != uuid.Nil {
		add("id", m.ID.String())
	}
	add("topic", m.Topic)
	add("type", m.Type)
	add("key", m.Key)
	add("correlation id", m.CorrelationID)
	add("causation id", m.CausationID)
	add("payload containing", m.PayloadContains)
	if len(m.Headers) > 0 {
		parts = append(parts, fmt.Sprintf("headers %q", m.Headers))
	}
	if len(parts) == 0 {
		return "anything"
	}
	return strings.Join(parts, ", ")
}

// list describes messages in the output of a failed test.
func list(msgs []outbox.Message) string {
	if len(msgs) == 0 {
		return "nothing"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", len(msgs))
	const most = 20
	for _, m := range msgs[:min(len(msgs), most)] {
		msg := Match{ID: m.ID, Topic: m.Topic, Type: m.Type, Key: m.Key, CorrelationID: m.CorrelationID,
			CausationID: m.CausationID, Headers: m.Headers}
		fmt.Fprintf(&b, "\n  %s, payload %.200q", msg, m.Payload)
	}
	if len(msgs) > most {
		fmt.Fprintf(&b, "\n  and %d more", len(msgs)-most)
	}
	return b.String()
}
