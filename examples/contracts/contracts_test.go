package contracts_test

import (
	"os"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/contracts"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// The sample that services in other languages test with keeps the contract, and
// without any of its fields it does not.
func TestSample(t *testing.T) {
	set, err := contracts.Load()
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile("../../testdata/contracts/order.created.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(payload string) error {
		return set.Producer().Check(wire.Message{Type: "OrderCreated", Topic: "order.created", Version: 1, ContentType: "application/json", Payload: []byte(payload)})
	}
	if err := check(string(body)); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"eventId", "eventType", "occurredAt", "correlationId", "orderId", "customerId", "amount"} {
		if err := check(strings.Replace(string(body), `"`+field+`"`, `"other"`, 1)); err == nil || !strings.Contains(err.Error(), "missing property '"+field+"'") {
			t.Errorf("without %s: %v", field, err)
		}
	}
}
