package orders_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
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
		EventID:       contract.EventID,
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
	if !reflect.DeepEqual(got, want) {
		t.Errorf("body %v\nwant %v", got, want)
	}
	if msg.ID != order.EventID || msg.Topic != "order.created" || msg.Type != "OrderCreated" || msg.Key != order.ID.String() ||
		msg.CorrelationID != order.CorrelationID || !msg.OccurredAt.Equal(order.CreatedAt) {
		t.Errorf("message %+v", msg)
	}
}

func TestPlace(t *testing.T) {
	draft := orders.Draft{CustomerID: "c", Amount: 1}
	a, b := orders.Place(draft, "x"), orders.Place(draft, "x")
	ids := []uuid.UUID{uuid.Nil, a.ID, a.EventID, b.ID, b.EventID}
	slices.SortFunc(ids, func(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) })
	if len(slices.Compact(ids)) != 5 {
		t.Errorf("ids %s", ids)
	}
	if a.CustomerID != "c" || a.Amount != 1 || a.CorrelationID != "x" || a.CreatedAt.Location() != time.UTC {
		t.Errorf("order %+v", a)
	}
}
