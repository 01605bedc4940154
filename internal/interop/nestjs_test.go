package interop

import (
	"encoding/json"
	"reflect"
	"testing"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

// A NestJS service handles what the outbox publishes, and the inbox applies
// once what the service emits.
func TestNestJS(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		exchange, queue := testenv.UniqueName(t, "pulse"), testenv.UniqueName(t, "nestjs")
		bind(t, url, exchange, "order.created", queue)
		c := consume(t, url, inboxrabbit.Decode(nestjs.Codec{}), inboxrabbit.IDFromHeader("x-event-id"), inboxrabbit.IDFromJSON("id"))
		service := start(t, "nestjs.js", url, queue, c.queue)
		if l := service.next(); !l.Ready {
			t.Fatalf("received %s before anything was sent", l.Received)
		}

		msg := order()
		publish(t, url, exchange, nestjs.Codec{}, msg)
		var got any
		if err := json.Unmarshal(service.next().Received, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"pattern": "order.created", "data": map[string]any{"total": 77.5, "text": "größe <b>"},
			"messageId": msg.ID.String(), "correlationId": "c1", "type": "OrderCreated", "appId": "orders",
			"headers": map[string]any{
				"x-correlation-id": "c1", "x-causation-id": "e0", "pulse-key": "order-7",
				"pulse-seq": got.(map[string]any)["headers"].(map[string]any)["pulse-seq"], // no number of JavaScript's
				"tenant":    "acme", "pulse-occurred-at": "2026-03-01T12:00:00.25Z",
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the service received\n%v, want\n%v", got, want)
		}

		messages := c.wantApplied(4, 3)
		for id, want := range map[string][2]string{
			"n1": {"stock.changed", `{"left":3}`},
			"n2": {"stock.counted", `{"id":"n2","text":"größe <b>"}`},
			"n3": {`{"cmd":"recount"}`, `{"id":"n3"}`},
			"n4": {"stock.changed", `{"left":4}`},
		} {
			if m := messages[id]; m.Type != want[0] || m.Topic != want[0] || string(m.Payload) != want[1] {
				t.Errorf("%s: type %q, topic %q, payload %s; want %v", id, m.Type, m.Topic, m.Payload, want)
			}
		}
		if m := messages["n1"]; m.CorrelationID != "c7" || m.Headers["tenant"] != "acme" {
			t.Errorf("n1: correlation id %q, headers %v", m.CorrelationID, m.Headers)
		}
	})
}
