package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Decoder reads the payload of a message into a value, which is a pointer. Its
// error names the place of what cannot be read.
type Decoder func(msg Message, into any) error

// Decode returns a Handler for events of type T: it reads the payload with
// decode and calls h with the result. A message that cannot be read is
// dead-lettered at once with ReasonUndecodable and the decoder's error, since no
// further attempt will read it.
func Decode[T any](decode Decoder, h func(ctx context.Context, tx Tx, msg Message, event T) error) Handler {
	handler := func(ctx context.Context, tx Tx, msg Message) error {
		var event T
		if err := decode(msg, &event); err != nil {
			return DeadLetterFor(fmt.Errorf("payload of %s as %T: %w", msg.Type, event, err), ReasonUndecodable)
		}
		if ctx.Value(checking{}) != nil {
			return nil
		}
		return h(ctx, tx, msg, event)
	}
	decoding.Store(reflect.ValueOf(handler).Pointer(), true)
	return handler
}

// checking is the key of contexts in which the handlers that Decode makes read a
// message and do no more.
type checking struct{}

// decoding has the code of these handlers. Mux.Check tells them by it from others,
// which it must not call.
var decoding sync.Map

// decodes reports whether Decode has made a handler.
func decodes(h Handler) bool {
	_, made := decoding.Load(reflect.ValueOf(h).Pointer())
	return made
}

// JSON is Decode with DecodeJSON.
func JSON[T any](h func(ctx context.Context, tx Tx, msg Message, event T) error) Handler {
	return Decode(DecodeJSON, h)
}

// DecodeJSON is a Decoder of JSON. Fields that the event's type lacks are
// ignored, so that producers may add some. The error begins with the JSON path
// of the value that cannot be read, such as $.lines[2].amount.
func DecodeJSON(msg Message, into any) error {
	err := json.Unmarshal(msg.Payload, into)
	if err == nil {
		return nil
	}
	path := faultPath(msg.Payload, into)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: JSON %s is no %v (byte %d)", path, e.Value, e.Type, e.Offset)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%s: no JSON: %w (byte %d)", path, e, e.Offset)
	}
	return fmt.Errorf("%s: %w", path, err)
}
