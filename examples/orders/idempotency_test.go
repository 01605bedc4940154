package orders_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/orders"
)

func TestParseIdempotencyKey(t *testing.T) {
	longest := strings.Repeat("k", orders.MaxIdempotencyKey)
	for _, c := range []struct {
		about  string
		values []string
		want   string
		says   string // empty: no error
	}{
		{"none", nil, "", ""},
		{"a UUID", []string{"8e03978e-40d5-43dd-bc93-6894a57f9324"}, "8e03978e-40d5-43dd-bc93-6894a57f9324", ""},
		{"quoted, as a structured field", []string{`"k-1"`}, `"k-1"`, ""},
		{"the longest", []string{longest}, longest, ""},
		{"too long", []string{longest + "k"}, "", "1 to 255"},
		{"empty", []string{""}, "", "1 to 255"},
		{"with a gap", []string{"a b"}, "", "visible"},
		{"not ASCII", []string{"schlüssel"}, "", "visible"},
		{"two", []string{"a", "b"}, "", "2 times"},
	} {
		got, err := orders.ParseIdempotencyKey(c.values)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; want %q and an error with %q", c.about, got, err, c.want, c.says)
		}
	}
}

func TestAnsweredAgain(t *testing.T) {
	parse := func(body string) orders.Draft {
		t.Helper()
		d, err := orders.ParseDraft([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	draft := parse(`{"customerId":"customer-123","amount":77.5}`)
	order := orders.Place(draft, "checkout-4711")
	first := order.Under("key-1")
	if first.Key != "key-1" || first.OrderID != order.ID || first.EventID != order.EventID || first.CorrelationID != "checkout-4711" {
		t.Errorf("answered %+v to %+v", first, order)
	}
	for _, body := range []string{
		`{"customerId":"customer-123","amount":77.5}`,
		`{ "amount": 7750e-2, "customerId": "customer-\u0031\u0032\u0033" }`,
	} {
		if receipt, err := first.Again(parse(body)); err != nil || receipt != order.Receipt() {
			t.Errorf("%s: %+v, %v; want the first answer", body, receipt, err)
		}
	}
	for _, body := range []string{
		`{"customerId":"customer-123","amount":77.51}`,
		`{"customerId":"customer-124","amount":77.5}`,
	} {
		if _, err := first.Again(parse(body)); !errors.Is(err, orders.ErrKeyReused) {
			t.Errorf("%s: %v, want ErrKeyReused", body, err)
		}
	}
}
