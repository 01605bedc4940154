package outbox

import (
	"encoding/json"
	"fmt"
)

// NewJSON returns a message for topic with a new id and event, encoded as JSON, as
// its payload. The error is that of encoding/json.
func NewJSON(topic string, event any) (Message, error) {
	payload, err := json.Marshal(event)
	if err != nil {
		return Message{}, fmt.Errorf("outbox: event for topic %q: %w", topic, err)
	}
	return NewMessage(topic, payload), nil
}
