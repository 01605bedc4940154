package outbox

import (
	"encoding/json"
	"fmt"
)

// NewJSON returns a message for topic whose payload is event as JSON, with an id
// of its own. The error is that of encoding/json.
func NewJSON(topic string, event any) (Message, error) {
	payload, err := json.Marshal(event)
	if err != nil {
		return Message{}, fmt.Errorf("outbox: event for topic %q: %w", topic, err)
	}
	return NewMessage(topic, payload), nil
}
