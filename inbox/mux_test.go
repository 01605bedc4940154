package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// named returns a handler that adds a name to a list.
func named(called *[]string, name string) inbox.Handler {
	return func(context.Context, inbox.Tx, inbox.Message) error {
		*called = append(*called, name)
		return nil
	}
}

func TestMuxRoutes(t *testing.T) {
	var called []string
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.HandleTopic("order.*", named(&called, "one word"))
	mux.HandleTopic("order.#", named(&called, "any words"))
	mux.HandleTopic("#.eu", named(&called, "ends in eu"))
	mux.HandleTopic("payment.*.done", named(&called, "word between"))
	mux.HandleType("OrderCreated", named(&called, "type"))
	for _, c := range []struct{ eventType, topic, want string }{
		{"OrderCreated", "order.created", "type"},
		{"OrderCreated", "elsewhere", "type"},
		{"", "order.created", "one word"},
		{"OrderPaid", "order.paid", "one word"},
		{"OrderPaid", "order", "any words"},
		{"OrderPaid", "order.paid.late", "any words"},
		{"Sent", "shipment.eu", "ends in eu"},
		{"Sent", "eu", "ends in eu"},
		{"Sent", "a.b.c.eu", "ends in eu"},
		{"Paid", "payment.card.done", "word between"},
		{"Paid", "payment.done", ""},
		{"Paid", "payment.card.visa.done", ""},
		{"Sent", "shipment.europe", ""},
		{"ordercreated", "", ""},
	} {
		called = nil
		err := mux.Handle(t.Context(), nil, inbox.Message{Type: c.eventType, Topic: c.topic})
		if c.want == "" {
			if dead, ok := errors.AsType[*inbox.DeadLetterError](err); !ok || dead.Reason != inbox.ReasonUnknownType || called != nil {
				t.Errorf("type %q, topic %q: %v by %v; want a dead letter for an unknown type", c.eventType, c.topic, err, called)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(called, []string{c.want}) {
			t.Errorf("type %q, topic %q: %v, %v; want %s", c.eventType, c.topic, called, err, c.want)
		}
	}
}

func TestMuxMiddleware(t *testing.T) {
	var called []string
	around := func(name string) inbox.Middleware {
		return func(next inbox.Handler) inbox.Handler {
			return func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				called = append(called, name+" before")
				err := next(ctx, tx, msg)
				called = append(called, name+" after")
				return err
			}
		}
	}
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.HandleType("Early", named(&called, "handler"))
	mux.Use(around("outer"), around("inner"))
	mux.HandleType("Late", named(&called, "handler"), inbox.RouteConfig{Timeout: time.Hour})
	for _, c := range []struct {
		eventType string
		want      []string
	}{
		{"Early", []string{"handler"}},
		{"Late", []string{"outer before", "inner before", "handler", "inner after", "outer after"}},
	} {
		called = nil
		if err := mux.Handle(t.Context(), nil, inbox.Message{Type: c.eventType}); err != nil || !reflect.DeepEqual(called, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.eventType, called, err, c.want)
		}
	}
}

func TestMuxRefusesMistakes(t *testing.T) {
	nothing := func(context.Context, inbox.Tx, inbox.Message) error { return nil }
	for _, c := range []struct {
		says    string
		mistake func(m *inbox.Mux)
	}{
		{"type is empty", func(m *inbox.Mux) { m.HandleType("", nothing) }},
		{"pattern is empty", func(m *inbox.Mux) { m.HandleTopic("", nothing) }},
		{"handler is nil", func(m *inbox.Mux) { m.HandleType("A", nil) }},
		{`"A" has a handler already`, func(m *inbox.Mux) { m.HandleType("A", nothing); m.HandleType("A", nothing) }},
		{`"a.#" has a handler already`, func(m *inbox.Mux) { m.HandleTopic("a.#", nothing); m.HandleTopic("a.#", nothing) }},
		{"MaxAttempts: -2", func(m *inbox.Mux) { m.HandleType("A", nothing, inbox.RouteConfig{MaxAttempts: -2}) }},
		{"Timeout: -1s", func(m *inbox.Mux) { m.HandleType("A", nothing, inbox.RouteConfig{Timeout: -time.Second}) }},
		{"one RouteConfig at most", func(m *inbox.Mux) { m.HandleType("A", nothing, inbox.RouteConfig{}, inbox.RouteConfig{}) }},
		{"Unknown: 7", func(*inbox.Mux) { inbox.NewMux(inbox.MuxConfig{Unknown: 7}) }},
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, c.says) {
					t.Errorf("panic %q, want one that says %q", text, c.says)
				}
			}()
			c.mistake(inbox.NewMux(inbox.MuxConfig{}))
		}()
	}
}

type orderCreated struct {
	OrderID string `json:"orderId"`
	Lines   []struct {
		Amount float64   `json:"amount"`
		Due    time.Time `json:"due"` // decodes itself
	} `json:"lines"`
}

func TestDecodeJSONNamesTheFault(t *testing.T) {
	for payload, want := range map[string]string{
		`{"orderId": 7}`: "$.orderId: JSON number is no string",
		`{"lines": [{"amount": 1}, {"amount": "a lot"}]}`:   "$.lines[1].amount: JSON string is no float64",
		`{"lines": [{"due": "soon", "amount": 1}]}`:         `$.lines[0].due: parsing time "soon"`,
		`{"orderId": "o-1", "lines": [{}, {"amount": 1,}]}`: "$.lines[1]: no JSON: invalid character '}'",
		`{"orderId": "o-1", "lines": [{"amount": 1x`:        "$.lines[0]: no JSON: invalid character 'x'",
		`[]`:                                  "$: JSON array is no",
		`{"orderId": "o-1"`:                   "no JSON: unexpected end of JSON input",
		`{"orderId": "o-1"}}`:                 "no JSON: invalid character '}'",
		``:                                    "no JSON: unexpected end of JSON input",
		`{"orderId": "o-1", "colour": "red"}`: "",
	} {
		var event orderCreated
		err := inbox.DecodeJSON(inbox.Message{Payload: []byte(payload)}, &event)
		if want == "" && (err != nil || event.OrderID != "o-1") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v; want %q", payload, event, err, want)
		}
	}
}

// TestMuxInConsumer: each route's settings apply to its messages only.
func TestMuxInConsumer(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		mux := inbox.NewMux(inbox.MuxConfig{Unknown: inbox.IgnoreUnknown})
		mux.HandleType("OrderCreated", inbox.JSON(func(ctx context.Context, tx inbox.Tx, msg inbox.Message, event orderCreated) error {
			if event.OrderID != "o-1" {
				return inbox.DeadLetter(fmt.Errorf("order %q", event.OrderID))
			}
			return record(ctx, tx, msg)
		}))
		refuse := func(context.Context, inbox.Tx, inbox.Message) error { return errSMTP }
		mux.HandleType("Impatient", refuse, inbox.RouteConfig{MaxAttempts: 2,
			Backoff: func(int) time.Duration { return 7 * time.Microsecond }})
		mux.HandleType("Patient", refuse)
		mux.HandleType("Slow", func(ctx context.Context, _ inbox.Tx, _ inbox.Message) error {
			<-ctx.Done()
			return ctx.Err()
		}, inbox.RouteConfig{Timeout: time.Millisecond, MaxAttempts: 1})

		order := map[string]any{"orderId": "o-1"}
		good := inboxtest.Event(t, "OrderCreated", order)
		garbled := inboxtest.Event(t, "OrderCreated", map[string]any{"orderId": 1})
		impatient, patient, slow := inboxtest.Event(t, "Impatient", order), inboxtest.Event(t, "Patient", order), inboxtest.Event(t, "Slow", order)
		unknown := inboxtest.Event(t, "Unheard", order)
		q := inboxtest.NewQueue()
		q.Publish(good, garbled, impatient, patient, slow, unknown)
		consumer := consume(t, in, q, mux.Handle, inbox.ConsumerConfig{Workers: 1, MaxAttempts: 3,
			Backoff: func(int) time.Duration { return time.Microsecond }})
		q.WaitUntilEmpty(t)

		delays := map[string][]time.Duration{}
		for _, s := range q.Settled(inbox.ActionRetry) {
			delays[s.Delivery.Message.ID] = append(delays[s.Delivery.Message.ID], s.Delay)
		}
		if want := map[string][]time.Duration{
			impatient.ID: {7 * time.Microsecond},
			patient.ID:   {time.Microsecond, time.Microsecond},
		}; !reflect.DeepEqual(delays, want) {
			t.Errorf("retried after %v, want %v", delays, want)
		}
		dead := map[string]inbox.Settlement{}
		for _, s := range q.DeadLetters() {
			dead[s.Delivery.Message.ID] = s
		}
		if _, tooSlow := errors.AsType[*inbox.HandlerTimeoutError](dead[slow.ID].Err); len(dead) != 4 || !tooSlow {
			t.Errorf("dead letters %+v, want four, and one for its timeout", dead)
		}
		if s := dead[garbled.ID]; s.Reason != inbox.ReasonUndecodable || !strings.Contains(s.Err.Error(), "$.orderId") {
			t.Errorf("the event that cannot be read: %s, %v", s.Reason, s.Err)
		}
		inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects`)
		inboxtest.RequireCount(t, db, 2, `SELECT count(*) FROM processed_events`) // the ignored one is done with as well
		if ignored := mux.Ignored(); ignored["Unheard"] == 0 || len(ignored) != 1 {
			t.Errorf("ignored %v, want the message without a route", ignored)
		}
		eventually(t, "what is ignored to be remembered", func() bool {
			_, err := in.Get(t.Context(), unknown.ID)
			return err == nil && consumer.Health().Applied == 2
		})
	})
}
