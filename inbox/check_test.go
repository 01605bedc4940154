package inbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// newVersions has one contract: payloads of version 2 say so.
type newVersions struct{}

func (newVersions) Newest(wire.Message) int { return 2 }

func (newVersions) Check(m wire.Message) error {
	if m.Version == 2 && !strings.Contains(string(m.Payload), "total") {
		return errors.New("$: missing property 'total'")
	}
	return nil
}

// Check finds what would be dead-lettered, by types, upcasters and routes, and calls
// neither handlers nor middleware.
func TestMuxCheck(t *testing.T) {
	called := 0
	count := func(context.Context, inbox.Tx, inbox.Message) error { called++; return nil }
	type total struct {
		Total int `json:"total"`
	}
	typed := inbox.JSON(func(context.Context, inbox.Tx, inbox.Message, total) error { called++; return nil })
	mux := inbox.NewMux(inbox.MuxConfig{Contracts: newVersions{}})
	mux.Use(func(next inbox.Handler) inbox.Handler {
		return func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error { called++; return next(ctx, tx, msg) }
	})
	mux.HandleType("OrderCreated", typed, inbox.RouteConfig{MaxAttempts: 3})
	mux.HandleTopic("text.#", inbox.Decode(func(inbox.Message, any) error { return errors.New("line 1: no text") },
		func(context.Context, inbox.Tx, inbox.Message, string) error { called++; return nil }))
	mux.HandleType("Opaque", count)
	mux.Upcast("OrderCreated", 1, inbox.UpcastJSON(func(_ context.Context, old struct{ Amount int }) (map[string]any, error) {
		switch old.Amount {
		case 1:
			return nil, errors.New("no currency")
		case 2:
			return map[string]any{}, nil
		case 3:
			panic("three")
		}
		return map[string]any{"total": old.Amount}, nil
	}))
	for _, c := range []struct {
		msg  inbox.Message
		says string // the error; empty: none
	}{
		{inbox.Message{Type: "OrderCreated", Version: 2, Payload: []byte(`{"total":7}`)}, ""},
		{inbox.Message{Type: "OrderCreated", Version: 2, Payload: []byte(`{"total":7.5}`)}, "$.total: JSON number 7.5 is no int"},
		{inbox.Message{Type: "OrderCreated", Payload: []byte(`{"amount":7}`)}, ""},
		{inbox.Message{Type: "OrderCreated", Version: 1, Payload: []byte(`{"amount":"7"}`)}, "OrderCreated to version 2: read a"},
		{inbox.Message{Type: "OrderCreated", Payload: []byte(`{"amount":1}`)}, "to version 2: no currency"},
		{inbox.Message{Type: "OrderCreated", Payload: []byte(`{"amount":2}`)}, "missing property 'total'"},
		{inbox.Message{Type: "OrderCreated", Payload: []byte(`{"amount":3}`)}, "three"},
		{inbox.Message{Topic: "text.de", Payload: []byte(`x`)}, "line 1: no text"},
		{inbox.Message{Type: "Unheard", Topic: "unheard"}, `no handler for type "Unheard"`},
	} {
		err := mux.Check(t.Context(), c.msg)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) || errors.Is(err, inbox.ErrUndecided) {
			t.Errorf("%s %s: %v; want %q", c.msg.Type, c.msg.Payload, err, c.says)
		}
	}
	if err := mux.Check(t.Context(), inbox.Message{Type: "Opaque"}); !errors.Is(err, inbox.ErrUndecided) {
		t.Errorf("a handler that decodes itself: %v", err)
	}
	if called != 0 {
		t.Errorf("%d calls of handlers and middleware", called)
	}
	if err := mux.Handle(t.Context(), nil, inbox.Message{Type: "OrderCreated", Version: 2, Payload: []byte(`{"total":7}`)}); err != nil || called != 2 {
		t.Errorf("handled: %v, %d calls; want the middleware's and the handler's", err, called)
	}
	ignoring := inbox.NewMux(inbox.MuxConfig{Unknown: inbox.IgnoreUnknown})
	if err := ignoring.Check(t.Context(), inbox.Message{Type: "Unheard"}); err != nil || len(ignoring.Ignored()) > 0 {
		t.Errorf("an ignored type: %v, ignored %v", err, ignoring.Ignored())
	}
}

// A consumer's settings decide before its handlers do.
func TestConsumerConfigCheck(t *testing.T) {
	opener := openerFunc(func(m *wire.Message) error {
		if m.Signature != "good" {
			return wire.ErrSignature
		}
		m.Payload, m.Encryption = []byte(`{"total":"`+string(m.Payload)+`"}`), ""
		return nil
	})
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.HandleType("OrderCreated", inbox.JSON(func(context.Context, inbox.Tx, inbox.Message, struct{ Total int }) error {
		return errors.New("called")
	}))
	encrypted := inbox.Message{ID: "e1", Type: "OrderCreated", Version: 2, Signature: "good", Encryption: "alg=A256GCM", Payload: []byte("x")}
	forged := encrypted
	forged.Signature = "bad"
	for name, c := range map[string]struct {
		cfg  inbox.ConsumerConfig
		mux  *inbox.Mux
		msg  inbox.Message
		want func(error) bool
	}{
		"encrypted": {inbox.ConsumerConfig{}, mux, encrypted, func(err error) bool { return errors.Is(err, inbox.ErrUndecided) }},
		"forged":    {inbox.ConsumerConfig{Opener: opener}, mux, forged, func(err error) bool { return errors.Is(err, wire.ErrSignature) }},
		"opened":    {inbox.ConsumerConfig{Opener: opener}, mux, encrypted, func(err error) bool { return err != nil && strings.Contains(err.Error(), "JSON string is no int") }},
		"contract": {inbox.ConsumerConfig{Contracts: newVersions{}}, mux, inbox.Message{ID: "e1", Version: 2, Payload: []byte("{}")},
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "missing property 'total'") }},
		"no mux": {inbox.ConsumerConfig{Opener: opener}, nil, encrypted, func(err error) bool { return err == nil }},
	} {
		if err := c.cfg.Check(t.Context(), c.mux, c.msg); !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type openerFunc func(m *wire.Message) error

func (f openerFunc) Decode(m *wire.Message) error { return f(m) }
