package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// prefixed are contracts, in versions 1 to newest, of payloads that name their
// version: `1...`.
type prefixed struct{ newest int }

func (p prefixed) Newest(wire.Message) int { return p.newest }

func (p prefixed) Check(m wire.Message) error {
	switch string(m.Payload) {
	case "panic":
		panic("of the contract")
	case "unreadable":
		return fmt.Errorf("%w: no text", wire.ErrUndecodable)
	}
	if want := fmt.Sprint(m.Version); !strings.HasPrefix(string(m.Payload), want) {
		return fmt.Errorf("$: does not begin with %s", want)
	}
	return nil
}

func versioned(i, version int, payload string) inbox.Message {
	m := event(i)
	m.Version, m.Payload = version, []byte(payload)
	return m
}

// A message that breaks its contract is dead-lettered before its handler is
// called, and the batch around it shares its transaction all the same.
func TestConsumerChecksContracts(t *testing.T) {
	in, db := newInbox(t, sqliteFile(t))
	good := []inbox.Message{versioned(0, 1, "1a"), versioned(1, 2, "2a"), versioned(2, 0, "1 without a version"), versioned(3, 9, "2 of a later version")}
	bad := []inbox.Message{versioned(4, 1, "2"), versioned(5, 2, "1"), versioned(6, 0, "2"), versioned(7, 9, "9"), versioned(8, 1, "panic"), versioned(9, 1, "unreadable")}
	q := inboxtest.NewQueue()
	q.Publish(append(append(bad[:2:2], good...), bad[2:]...)...)
	consume(t, in, q, record, inbox.ConsumerConfig{Workers: 1, Contracts: prefixed{2}})
	q.WaitUntilEmpty(t)
	wantOnce(t, db, good)
	reasons := map[string]string{}
	for _, s := range q.DeadLetters() {
		if (s.Reason != inbox.ReasonContract) != (s.Delivery.Message.ID == bad[5].ID && s.Reason == inbox.ReasonUndecodable) {
			t.Errorf("%s has the reason %s", s.Delivery.Message.ID, s.Reason)
		}
		reasons[s.Delivery.Message.ID] = s.Err.Error()
	}
	want := map[string]string{
		bad[0].ID: "$: does not begin with 1", bad[1].ID: "$: does not begin with 2", bad[2].ID: "$: does not begin with 1",
		bad[3].ID: "$: does not begin with 2", bad[4].ID: "handler panicked: of the contract",
		bad[5].ID: "undecodable message: no text",
	}
	if !reflect.DeepEqual(reasons, want) {
		t.Errorf("dead letters %v, want %v", reasons, want)
	}
}

func TestMuxUpcasts(t *testing.T) {
	type v1 struct {
		Amount float64 `json:"amount"`
	}
	type v2 struct {
		Total    float64 `json:"total"`
		Currency string  `json:"currency"`
	}
	var got []inbox.Message
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.Upcast("OrderCreated", 1, inbox.UpcastJSON(func(_ context.Context, old v1) (v2, error) {
		if old.Amount < 0 {
			return v2{}, errors.New("amount is negative")
		}
		return v2{old.Amount, "EUR"}, nil
	}))
	mux.Upcast("OrderCreated", 2, func(_ context.Context, msg inbox.Message) ([]byte, error) {
		if strings.Contains(string(msg.Payload), "unavailable") {
			return nil, inbox.Unavailable(errors.New("rates are away"))
		}
		return append(msg.Payload[:len(msg.Payload):len(msg.Payload)], "\n"...), nil
	})
	handler := func(_ context.Context, _ inbox.Tx, msg inbox.Message) error { got = append(got, msg); return nil }
	mux.HandleType("OrderCreated", handler)
	mux.HandleTopic("#", handler)
	for _, c := range []struct {
		eventType string
		version   int
		payload   string
		want      string
		becomes   int
	}{
		{"OrderCreated", 1, `{"amount":2}`, `{"total":2,"currency":"EUR"}` + "\n", 3},
		{"OrderCreated", 0, `{"amount":2}`, `{"total":2,"currency":"EUR"}` + "\n", 3},
		{"OrderCreated", 2, `{"total":1}`, `{"total":1}` + "\n", 3},
		{"OrderCreated", 3, `{}`, `{}`, 3},
		{"OrderCreated", 4, `{}`, `{}`, 4},
		{"Other", 1, `{"amount":2}`, `{"amount":2}`, 1},
	} {
		got = nil
		err := mux.Handle(t.Context(), nil, inbox.Message{Type: c.eventType, Version: c.version, Payload: []byte(c.payload)})
		if err != nil || len(got) != 1 || string(got[0].Payload) != c.want || got[0].Version != c.becomes {
			t.Errorf("%s %d %s: %v, %+v; want version %d, %s", c.eventType, c.version, c.payload, err, got, c.becomes, c.want)
		}
	}
	got = nil
	for payload, says := range map[string]string{
		`{"amount":-1}`:  `OrderCreated to version 2: amount is negative`,
		`{"amount":"1"}`: `OrderCreated to version 2: read a inbox_test.v1: $.amount: JSON string is no float64`,
	} {
		err := mux.Handle(t.Context(), nil, inbox.Message{Type: "OrderCreated", Version: 1, Payload: []byte(payload)})
		dead, ok := errors.AsType[*inbox.DeadLetterError](err)
		if !ok || dead.Reason != inbox.ReasonContract || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%s: %v, handled %v; want %q", payload, err, got, says)
		}
	}
	err := mux.Handle(t.Context(), nil, inbox.Message{Type: "OrderCreated", Version: 2, Payload: []byte(`"unavailable"`)})
	if _, ok := errors.AsType[*inbox.UnavailableError](err); !ok {
		t.Errorf("an upcaster that lacks what it needs: %v", err)
	}
}

// What an upcaster returns has to satisfy the contract of its version.
func TestMuxChecksUpcasts(t *testing.T) {
	mux := inbox.NewMux(inbox.MuxConfig{Contracts: prefixed{2}})
	mux.Upcast("T", 1, func(_ context.Context, msg inbox.Message) ([]byte, error) { return msg.Payload[1:], nil })
	mux.HandleType("T", func(context.Context, inbox.Tx, inbox.Message) error { return nil })
	if err := mux.Handle(t.Context(), nil, inbox.Message{Type: "T", Version: 1, Payload: []byte("12")}); err != nil {
		t.Error(err)
	}
	err := mux.Handle(t.Context(), nil, inbox.Message{Type: "T", Version: 1, Payload: []byte("13")})
	if dead, ok := errors.AsType[*inbox.DeadLetterError](err); !ok || dead.Reason != inbox.ReasonContract || !strings.Contains(err.Error(), "T to version 2: $: does not begin with 2") {
		t.Errorf("error %v", err)
	}
}

func TestMuxUpcastMistakes(t *testing.T) {
	up := func(context.Context, inbox.Message) ([]byte, error) { return nil, nil }
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.Upcast("T", 1, up)
	for name, mistake := range map[string]func(){
		"type": func() { mux.Upcast("", 1, up) }, "version": func() { mux.Upcast("T", 0, up) },
		"nil": func() { mux.Upcast("T", 2, nil) }, "twice": func() { mux.Upcast("T", 1, up) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}
