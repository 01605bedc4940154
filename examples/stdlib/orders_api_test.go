package stdlib_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
)

func TestCreateOrderRefusesBadBodies(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		url, settings, _ := services.StartOrders(t, on)
		samples, err := os.ReadFile("../../testdata/orders/invalid.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range exampletest.Decode[[]struct {
			About, Body string
			Fields      []string
		}](t, samples) {
			res, body := exampletest.Exchange(t, http.MethodPost, url+"/orders", s.Body)
			code, fields := exampletest.Refused(t, s.About, res, body, http.StatusBadRequest)
			want := "invalid_order"
			if s.Fields == nil {
				want = "malformed_json"
			}
			if code != want || !slices.Equal(fields, s.Fields) {
				t.Errorf("%s: code %s and fields %q, want %s and %q", s.About, code, fields, want, s.Fields)
			}
		}
		huge := `{"customerId": "` + strings.Repeat("x", 64<<10) + `", "amount": 1}`
		res, body := exampletest.Exchange(t, http.MethodPost, url+"/orders", huge)
		if code, _ := exampletest.Refused(t, "huge body", res, body, http.StatusBadRequest); code != "body_too_large" {
			t.Errorf("huge body: code %s", code)
		}
		db := exampletest.Open(t, settings.DatabaseURL)
		if orders, rows := exampletest.Count(t, db, "orders"), exampletest.Count(t, db, "outbox_messages"); orders+rows != 0 {
			t.Errorf("%d orders and %d outbox rows of refused requests", orders, rows)
		}
	})
}

func TestCreateOrderKeepsAmountsExact(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		url, settings, _ := services.StartOrders(t, on)
		samples, err := os.ReadFile("../../testdata/orders/valid.json")
		if err != nil {
			t.Fatal(err)
		}
		db := exampletest.Open(t, settings.DatabaseURL)
		for _, s := range exampletest.Decode[[]struct {
			About string
			Body  json.RawMessage
			Cents int64
		}](t, samples) {
			status, body := exampletest.Ask(t, http.MethodPost, url+"/orders", string(s.Body))
			if status != http.StatusCreated {
				t.Fatalf("%s: %d %s", s.About, status, body)
			}
			id := exampletest.Decode[exampletest.Placed](t, body).OrderID
			var stored int64
			if err := db.GetContext(t.Context(), &stored, `SELECT amount_cents FROM orders WHERE id = $1`, id); err != nil || stored != s.Cents {
				t.Errorf("%s: stored %d cents, %v; want %d", s.About, stored, err, s.Cents)
			}
		}
	})
}

type order struct {
	OrderID, EventID, CustomerID, CorrelationID string
	Amount                                      json.Number
	CreatedAt                                   time.Time
}

func TestReadOrders(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		url, _, _ := services.StartOrders(t, on)
		if status, body := exampletest.Ask(t, http.MethodGet, url+"/orders", ""); status != http.StatusOK || string(body) != "[]\n" {
			t.Errorf("no orders yet: %d %s", status, body)
		}
		var ids []string
		for _, amount := range []string{"77.5", "12", "0.05"} {
			res, body := exampletest.Exchange(t, http.MethodPost, url+"/orders", `{"customerId":"customer-123","amount":`+amount+`}`)
			p := exampletest.Decode[exampletest.Placed](t, body)
			if res.StatusCode != http.StatusCreated || res.Header.Get("Location") != "/orders/"+p.OrderID {
				t.Fatalf("%d, location %q: %s", res.StatusCode, res.Header.Get("Location"), body)
			}
			ids = append(ids, p.OrderID)
			status, body := exampletest.Ask(t, http.MethodGet, url+"/orders/"+p.OrderID, "")
			got := exampletest.Decode[order](t, body)
			if status != http.StatusOK || got.OrderID != p.OrderID || got.EventID != p.EventID || got.CustomerID != "customer-123" || got.Amount.String() != amount ||
				got.CorrelationID != p.CorrelationID || got.CreatedAt.Location() != time.UTC || got.CreatedAt.IsZero() {
				t.Errorf("order %d %s", status, body)
			}
		}
		slices.Reverse(ids)
		for query, want := range map[string][]string{"": ids, "?limit=2": ids[:2], "?limit=1000": ids} {
			status, body := exampletest.Ask(t, http.MethodGet, url+"/orders"+query, "")
			var got []string
			for _, o := range exampletest.Decode[[]order](t, body) {
				got = append(got, o.OrderID)
			}
			if status != http.StatusOK || !slices.Equal(got, want) {
				t.Errorf("GET /orders%s: %d %q, want the newest first: %q", query, status, got, want)
			}
		}
	})
}

func TestOrdersRefusesBadRequests(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		url, _, _ := services.StartOrders(t, on)
		for _, c := range []struct {
			method, path string
			status       int
			code         string
			fields       []string
		}{
			{"GET", "/orders?limit=0", 400, "invalid_request", []string{"limit"}},
			{"GET", "/orders?limit=-1", 400, "invalid_request", []string{"limit"}},
			{"GET", "/orders?limit=1001", 400, "invalid_request", []string{"limit"}},
			{"GET", "/orders?limit=ten", 400, "invalid_request", []string{"limit"}},
			{"GET", "/orders?limit=", 400, "invalid_request", []string{"limit"}},
			{"GET", "/orders/abc", 400, "invalid_request", []string{"id"}},
			{"GET", "/orders/%7B" + uuid.NewString() + "%7D", 400, "invalid_request", []string{"id"}},
			{"GET", "/orders/" + uuid.NewString(), 404, "order_not_found", nil},
			{"GET", "/", 404, "not_found", nil},
			{"GET", "/orders/", 404, "not_found", nil},
			{"POST", "/nowhere", 404, "not_found", nil},
			{"PUT", "/orders", 405, "method_not_allowed", nil},
			{"DELETE", "/orders/" + uuid.NewString(), 405, "method_not_allowed", nil},
			{"POST", "/health/ready", 405, "method_not_allowed", nil},
		} {
			about := c.method + " " + c.path
			res, body := exampletest.Exchange(t, c.method, url+c.path, "")
			code, fields := exampletest.Refused(t, about, res, body, c.status)
			if code != c.code || !slices.Equal(fields, c.fields) {
				t.Errorf("%s: code %s, fields %q; want %s, %q", about, code, fields, c.code, c.fields)
			}
			if c.status == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "" {
				t.Errorf("%s: no header Allow", about)
			}
		}
		if res, _ := exampletest.Exchange(t, http.MethodPut, url+"/orders", ""); res.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("PUT /orders: Allow: %s", res.Header.Get("Allow"))
		}
	})
}

func TestCorrelationIDOfARequest(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		url, _, logs := services.StartOrders(t, on)
		const body = `{"customerId":"c","amount":1}`
		longest := strings.Repeat("x", 255)
		for _, id := range []string{"checkout-4711", longest} {
			res, text := exampletest.Exchange(t, http.MethodPost, url+"/orders", body, "X-Correlation-Id", id)
			if got := exampletest.Decode[exampletest.Placed](t, text).CorrelationID; got != id || res.Header.Get("x-correlation-id") != id {
				t.Errorf("given %q: answered %q and header %q", id, got, res.Header.Get("x-correlation-id"))
			}
		}
		res, text := exampletest.Exchange(t, http.MethodPost, url+"/orders", body)
		if got := exampletest.Decode[exampletest.Placed](t, text).CorrelationID; got == "" || res.Header.Get("x-correlation-id") != got {
			t.Errorf("none given: answered %q and header %q", got, res.Header.Get("x-correlation-id"))
		}
		for about, headers := range map[string][]string{
			"empty":     {"x-correlation-id", ""},
			"with gap":  {"x-correlation-id", "a b"},
			"not ASCII": {"x-correlation-id", "größe"},
			"too long":  {"x-correlation-id", longest + "x"},
			"two":       {"x-correlation-id", "a", "x-correlation-id", "b"},
		} {
			res, text := exampletest.Exchange(t, http.MethodPost, url+"/orders", body, headers...)
			if _, fields := exampletest.Refused(t, about, res, text, http.StatusBadRequest); !slices.Equal(fields, []string{"x-correlation-id"}) {
				t.Errorf("%s: fields %q", about, fields)
			}
		}
		if logs.Find(t, map[string]any{"msg": "request", "service": "orders", "correlation_id": "checkout-4711", "status": 201.0}) == nil {
			t.Error("the access log does not tell of the request by its correlation id")
		}
	})
}
