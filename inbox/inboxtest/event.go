package inboxtest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
)

// Event returns a message of the given type with event as its JSON payload and a
// new id, as a producer's outbox would have sent it: for a handler, such as
// Mux.Handle, for DeliverTwice or for Queue.Publish. Topic and Key are left
// empty. It fails t when event cannot be encoded.
func Event(t testing.TB, eventType string, event any) inbox.Message {
	t.Helper()
	payload, err := json.Marshal(event)
	if err != nil {
		t.Fatalf("inboxtest: event of type %s: %v", eventType, err)
	}
	id := uuid.NewString()
	return inbox.Message{
		ID: id, Type: eventType, Payload: payload, ContentType: "application/json",
		CorrelationID: id, OccurredAt: time.Now().UTC(), Attempt: 1,
	}
}
