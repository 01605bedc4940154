package exampletest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/outbox"
)

// someOrder is an order like any other.
const someOrder = `{"customerId":"customer-123","amount":77.5}`

// IdempotencyKeyStandsOrFallsWithItsOrder tests that a key is taken by an order that stands, and by nothing else.
func (k Stack) IdempotencyKeyStandsOrFallsWithItsOrder(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		url, cfg, _ := k.StartOrders(t, on)
		db := Open(t, cfg.DatabaseURL)
		post := func(body string) (*http.Response, []byte) {
			t.Helper()
			return Exchange(t, http.MethodPost, url+"/orders", body, "Idempotency-Key", "key-1")
		}
		if res, body := post(`{"customerId":"customer-123"}`); res.StatusCode != http.StatusBadRequest {
			t.Fatalf("an order without an amount: %d %s", res.StatusCode, body)
		}
		sabotage := map[outbox.Dialect][2]string{
			outbox.PostgreSQL: {`ALTER TABLE outbox_messages ADD CONSTRAINT none CHECK (false) NOT VALID`, `ALTER TABLE outbox_messages DROP CONSTRAINT none`},
			outbox.SQLite:     {`CREATE TRIGGER refuse BEFORE INSERT ON outbox_messages BEGIN SELECT RAISE (ABORT, 'refused'); END`, `DROP TRIGGER refuse`},
		}[Dialect(t, db)]
		Execute(t, db, sabotage[0])
		if res, body := post(someOrder); res.StatusCode != http.StatusInternalServerError {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		if n := Count(t, db, "idempotency_keys"); n != 0 {
			t.Fatalf("%d keys of requests that failed", n)
		}
		Execute(t, db, sabotage[1])

		res, first := post(someOrder)
		if res.StatusCode != http.StatusCreated || res.Header.Get("Idempotency-Replayed") != "" {
			t.Fatalf("%d %s, headers %v", res.StatusCode, first, res.Header)
		}
		res, again := post(someOrder)
		if res.StatusCode != http.StatusCreated || res.Header.Get("Idempotency-Replayed") != "true" || string(again) != string(first) ||
			res.Header.Get("Location") != "/orders/"+Decode[Placed](t, first).OrderID {
			t.Errorf("again: %d %s, headers %v; want %s", res.StatusCode, again, res.Header, first)
		}
		res, other := post(strings.Replace(someOrder, "77.5", "77.51", 1))
		if code, fields := Refused(t, "another order", res, other, http.StatusUnprocessableEntity); code != "idempotency_key_reused" || len(fields) != 1 {
			t.Errorf("another order: code %s, fields %q", code, fields)
		}
		if orders, rows, keys := Count(t, db, "orders"), Count(t, db, "outbox_messages"), Count(t, db, "idempotency_keys"); orders != 1 || rows != 1 || keys != 1 {
			t.Errorf("%d orders, %d outbox rows, %d keys; want one each", orders, rows, keys)
		}
	})
}
