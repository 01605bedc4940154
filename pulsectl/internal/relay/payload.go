package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// checkedJSON refuses payloads that are not JSON although their content type says
// so, before next, if there is one, encodes the message. In plain SQL that happens
// easily: a text that is written into a bytea column is read as an escape format,
// which takes one of two backslashes away.
type checkedJSON struct{ next wire.Encoder }

// Encode implements wire.Encoder. An empty payload is no payload.
func (c checkedJSON) Encode(m *wire.Message) error {
	if len(m.Payload) > 0 && wire.IsJSON(m.ContentType) {
		if err := checkJSON(m.Payload); err != nil {
			return fmt.Errorf("payload: is not JSON, as content_type %s says: %w", m.ContentType, err)
		}
	}
	if c.next == nil {
		return nil
	}
	return c.next.Encode(m)
}

// Validate validates the settings of next.
func (c checkedJSON) Validate() error {
	if next, ok := c.next.(interface{ Validate() error }); ok {
		return next.Validate()
	}
	return nil
}

func checkJSON(payload []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(payload, &value)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%w (byte %d)", err, syntax.Offset)
	}
	if err == nil && !utf8.Valid(payload) {
		return errors.New("not UTF-8")
	}
	return err
}
