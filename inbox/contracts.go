package inbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// breach returns what is wrong with a message by its contract, or nil.
func (c ConsumerConfig) breach(m Message) error {
	if c.Contracts == nil {
		return nil
	}
	return safely(func() error { return wire.CheckConsumed(c.Contracts, m.wire()) })
}

// breachReason is why a message that breaks its contract is dead-lettered.
func breachReason(err error) Reason {
	if errors.Is(err, wire.ErrUndecodable) {
		return ReasonUndecodable
	}
	return ReasonContract
}

// Upcaster returns the payload of msg as the next version of its contract has it.
// It must not change msg.Payload. An error dead-letters the message at once, with
// ReasonContract, unless it is one of Retry, Unavailable or DeadLetterFor. It may run again for the same message.
type Upcaster func(ctx context.Context, msg Message) (payload []byte, err error)

// versioned are the messages of one type and version.
type versioned struct {
	eventType string
	version   int
}

// UpcastJSON returns an Upcaster for payloads in JSON: it reads an Old, calls up,
// and encodes the New.
func UpcastJSON[Old, New any](up func(ctx context.Context, old Old) (New, error)) Upcaster {
	return func(ctx context.Context, msg Message) ([]byte, error) {
		var old Old
		if err := DecodeJSON(msg, &old); err != nil {
			return nil, fmt.Errorf("read a %T: %w", old, err)
		}
		next, err := up(ctx, old)
		if err != nil {
			return nil, err
		}
		return json.Marshal(next)
	}
}

// Upcast registers what brings messages of a type from a version of their
// contract to the next, so that handlers know the newest version alone: a message
// of version 1 passes the upcasters from 1, from 2 and so on, as far as there are
// some, and the handler gets the last payload and its version. A message without
// a version is of version 1; its type is its topic where it has none. Upcast
// panics as HandleType does.
//
//	mux.Upcast("OrderCreated", 1, inbox.UpcastJSON(func(_ context.Context, old orderV1) (orderV2, error) {
//		return orderV2{ID: old.ID, Total: money{old.Amount, "EUR"}}, nil
//	}))
func (m *Mux) Upcast(eventType string, from int, up Upcaster) {
	key := versioned{eventType, from}
	switch {
	case eventType == "":
		panic("inbox: mux: the type is empty")
	case from < 1 || from >= wire.MaxVersion:
		panic(fmt.Sprintf("inbox: mux: version %d; must be 1 to %d", from, wire.MaxVersion-1))
	case up == nil:
		panic("inbox: mux: the upcaster is nil")
	case m.upcasters[key] != nil:
		panic(fmt.Sprintf("inbox: mux: type %q has an upcaster from version %d already", eventType, from))
	}
	m.upcasters[key] = up
}

// upcast returns msg in the newest version for which there are upcasters.
func (m *Mux) upcast(ctx context.Context, msg Message) (Message, error) {
	if len(m.upcasters) == 0 {
		return msg, nil
	}
	for key := (versioned{cmp.Or(msg.Type, msg.Topic), max(msg.Version, 1)}); m.upcasters[key] != nil; {
		payload, err := m.upcasters[key](ctx, msg)
		key.version++
		if err == nil {
			msg.Payload, msg.Version = payload, key.version
			if m.cfg.Contracts != nil {
				err = m.cfg.Contracts.Check(msg.wire())
			}
		}
		switch {
		case err == nil:
		case ctx.Err() != nil, is[*RetryError](err), is[*UnavailableError](err), is[*DeadLetterError](err):
			return msg, err
		default:
			return msg, DeadLetterFor(fmt.Errorf("%s to version %d: %w", key.eventType, key.version, err), ReasonContract)
		}
	}
	return msg, nil
}
