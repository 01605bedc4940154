package inboxtest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
)

// Event returns a message of that type with event as its JSON payload and an
// id of its own, as a producer's outbox would have sent it: to be handed to a
// handler, to DeliverTwice or to Queue.Publish. Topic and key are the test's to
// set. It fails t when event is no JSON.
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
