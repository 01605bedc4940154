package orders_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/orders"
)

func TestCreatedKeepsTheContract(t *testing.T) {
	want := load[map[string]any](t, "../../testdata/contracts/order.created.json")
	contract := load[orders.Created](t, "../../testdata/contracts/order.created.json")

	order := orders.Order{
		ID:            uuid.MustParse("0198c0de-7a10-7f00-8a44-3e2d1c0b9a87"),
		CustomerID:    "customer-123",
		Amount:        7750,
		CorrelationID: "checkout-4711",
		CreatedAt:     contract.OccurredAt.In(time.FixedZone("elsewhere", 7200)),
	}
	msg, err := order.Created()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(msg.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if got["eventId"] != msg.ID.String() {
		t.Errorf("eventId %v, but the message is %s", got["eventId"], msg.ID)
	}
	got["eventId"] = want["eventId"]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("body %v\nwant %v", got, want)
	}
	if msg.Topic != "order.created" || msg.Type != "OrderCreated" || msg.Key != order.ID.String() ||
		msg.CorrelationID != order.CorrelationID || !msg.OccurredAt.Equal(order.CreatedAt) {
		t.Errorf("message %+v", msg)
	}
}

func TestPlace(t *testing.T) {
	draft := orders.Draft{CustomerID: "c", Amount: 1}
	a, b := orders.Place(draft, "x"), orders.Place(draft, "x")
	if a.ID == b.ID || a.ID == uuid.Nil {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
	if a.CustomerID != "c" || a.Amount != 1 || a.CorrelationID != "x" || a.CreatedAt.Location() != time.UTC {
		t.Errorf("order %+v", a)
	}
}
