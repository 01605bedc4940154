package interop

import (
	"encoding/json"
	"reflect"
	"testing"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
)

// The CloudEvents SDK reads and validates what the outbox publishes in both
// modes, and the inbox applies once what the SDK sends in three.
func TestCloudEvents(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		exchange, queue := testenv.UniqueName(t, "pulse"), testenv.UniqueName(t, "cloudevents")
		bind(t, url, exchange, "order.created", queue)
		c := consume(t, url, inboxrabbit.Decode(cloudevents.Codec{}))
		service := start(t, "cloudevents.js", url, queue, c.queue)
		if l := service.next(); !l.Ready {
			t.Fatalf("received %s before anything was sent", l.Received)
		}

		for _, structured := range []bool{false, true} {
			msg := order()
			publish(t, url, exchange, cloudevents.Codec{Source: "/orders", Structured: structured}, msg)
			var got any
			if err := json.Unmarshal(service.next().Received, &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"messageId": msg.ID.String(), "structured": structured, "event": map[string]any{
				"specversion": "1.0", "id": msg.ID.String(), "source": "/orders", "type": "OrderCreated", "time": "2026-03-01T12:00:00.250Z",
				"datacontenttype": "application/json", "partitionkey": "order-7", "correlationid": "c1", "causationid": "e0",
				"data": map[string]any{"total": 77.5, "text": "größe <b>"},
			}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("structured %t: the SDK read\n%v, want\n%v", structured, got, want)
			}
		}

		messages := c.wantApplied(3, 2)
		for _, id := range []string{"/shop/1", "/shop-2/1", "/shop/2"} {
			m := messages[id]
			if m.Type != "com.example.paid" || m.Key != "order-7" || m.CorrelationID != "c9" || m.CausationID != "e0" || m.ContentType != "application/json" ||
				string(m.Payload) != `{"amount":7,"text":"größe <b>"}` || m.OccurredAt.Format("15:04:05.000") != "12:00:00.250" || m.Headers["cloudEvents:subject"] != "order-7" {
				t.Errorf("%s: %+v", id, m)
			}
		}
	})
}
