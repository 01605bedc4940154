// Package nestjs has the format of events of @nestjs/microservices: a JSON
// object around the payload, {"pattern": "order.created", "data": {...}}. The
// handler of a NestJS service is chosen by the pattern.
//
// Everything else travels as in any other message: in AMQP the id is the
// property message_id, the correlation id the property correlation_id and the
// header x-correlation-id. A NestJS handler finds them in
// context.getMessage().properties; an event of NestJS gets them from
// RmqRecordBuilder.setOptions.
package nestjs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Codec is a wire.Encoder and a wire.Decoder. The zero value is ready for use.
type Codec struct {
	// Pattern returns the pattern of a message, as in @EventPattern. Defaults to
	// its topic.
	Pattern func(m wire.Message) string
}

var (
	_ wire.Encoder = Codec{}
	_ wire.Decoder = Codec{}
)

// Encode puts the payload into the envelope as it is; an empty one becomes null. It must be JSON. Without an "id" in the envelope NestJS takes it
// for an event, to which it sends no answer.
func (c Codec) Encode(m *wire.Message) error {
	data := m.Payload
	switch {
	case len(data) == 0:
		data = []byte("null")
	case !wire.IsJSON(m.ContentType):
		return fmt.Errorf("nestjs: content type %q; data in the envelope is JSON", m.ContentType)
	case !json.Valid(data):
		return errors.New("nestjs: the payload is not JSON")
	}
	pattern := m.Topic
	if c.Pattern != nil {
		pattern = c.Pattern(*m)
	}
	quoted, err := json.Marshal(pattern)
	if err != nil {
		return fmt.Errorf("nestjs: pattern: %w", err)
	}
	m.Payload = slices.Concat([]byte(`{"pattern":`), quoted, []byte(`,"data":`), data, []byte("}"))
	m.ContentType = wire.DefaultContentType
	return nil
}

// Decode takes the payload out of the envelope as it is, without space around it;
// null where there is no data. A message without a type, as NestJS sends them, gets the pattern
// as its type and topic. A pattern that is no string is written as compact JSON,
// as NestJS does: {"cmd":"total"}.
//
// A payload that is no JSON object with a pattern is left alone. Requests of
// NestJS (client.send) are read like events; nobody answers them.
func (c Codec) Decode(m *wire.Message) error {
	var envelope map[string]json.RawMessage
	if json.Unmarshal(m.Payload, &envelope) != nil {
		return nil // compressed, or of somebody else
	}
	raw, found := envelope["pattern"]
	if !found {
		return nil
	}
	var pattern string
	if json.Unmarshal(raw, &pattern) != nil {
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return fmt.Errorf("nestjs: pattern: %w", err)
		}
		pattern = compact.String()
	}
	if m.Type == "" {
		m.Type, m.Topic = pattern, pattern
	}
	m.Payload = envelope["data"]
	if m.Payload == nil {
		m.Payload = []byte("null")
	}
	return nil
}
