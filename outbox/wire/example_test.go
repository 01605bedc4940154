package wire_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// A publisher for a broker whose messages have headers and no properties, such
// as NATS or Kafka, and what a source makes of it.
func Example() {
	msg := outbox.Message{
		ID: uuid.MustParse("0190b7a2-7c40-7a1b-8c2d-3e4f5a6b7c8d"), Topic: "order.created", Type: "OrderCreated",
		Payload: []byte(`{"total":77.5}`), ContentType: "application/json", Headers: map[string]string{"tenant": "acme"},
		CorrelationID: "checkout-42", OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seq: 4711,
	}
	headers := wire.AllHeaders(msg.Wire("orders"))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Printf("%s: %s\n", name, headers[name])
	}

	received := wire.Message{Payload: msg.Payload}
	if err := wire.ReadHeaders(&received, headers); err != nil {
		fmt.Println(err)
	}
	fmt.Println(received.ID == msg.ID.String(), received.Type, received.Headers)
	// A source hands on inbox.FromWire(received).

	// Output:
	// pulse-content-type: application/json
	// pulse-id: 0190b7a2-7c40-7a1b-8c2d-3e4f5a6b7c8d
	// pulse-occurred-at: 2026-03-01T12:00:00Z
	// pulse-producer: orders
	// pulse-seq: 4711
	// pulse-topic: order.created
	// pulse-type: OrderCreated
	// tenant: acme
	// x-correlation-id: checkout-42
	// true OrderCreated map[tenant:acme]
}
