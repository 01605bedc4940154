package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

func answersThreeIDs(ctx context.Context, v *visitor) error {
	a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder)
	if err != nil {
		return err
	}
	ids, err := decode[map[string]string](a, http.StatusCreated)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range []string{"orderId", "eventId", "correlationId"} {
		if _, err := uuid.Parse(ids[name]); err != nil {
			problems = append(problems, a.wrong("%s is no UUID", name))
		}
	}
	if len(ids) != 3 || ids["orderId"] == ids["eventId"] {
		problems = append(problems, a.wrong("want three fields, and order and event told apart"))
	}
	return errors.Join(problems...)
}

type order struct {
	OrderID, EventID, CustomerID, CorrelationID string
	Amount                                      json.Number
	CreatedAt                                   time.Time
}

func ordersCanBeRead(ctx context.Context, v *visitor) error {
	var ids []string
	for _, amount := range []string{"77.5", "12", "0.05"} {
		p, err := v.place(ctx, `{"customerId":"acceptance-reader","amount":`+amount+`}`)
		if err != nil {
			return err
		}
		ids = append(ids, p.OrderID)
		a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders/"+p.OrderID, "")
		if err != nil {
			return err
		}
		o, err := decode[order](a, http.StatusOK)
		if err != nil {
			return err
		}
		if (placed{o.OrderID, o.EventID, o.CorrelationID}) != p || o.CustomerID != "acceptance-reader" || o.Amount.String() != amount ||
			o.CreatedAt.IsZero() || o.CreatedAt.Location() != time.UTC {
			return a.wrong("not the order that was placed, %+v", p)
		}
	}
	// Others may be placing orders meanwhile: ours have to come in their order.
	a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders?limit=100", "")
	if err != nil {
		return err
	}
	list, err := decode[[]order](a, http.StatusOK)
	if err != nil {
		return err
	}
	var ours []string
	for _, o := range list {
		if slices.Contains(ids, o.OrderID) {
			ours = append(ours, o.OrderID)
		}
	}
	slices.Reverse(ids)
	if !slices.Equal(ours, ids) {
		return fmt.Errorf("GET /orders lists %q, want the newest first: %q", ours, ids)
	}
	if a, err = v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders?limit=2", ""); err != nil {
		return err
	}
	if list, err = decode[[]order](a, http.StatusOK); err == nil && len(list) != 2 {
		err = a.wrong("want two orders")
	}
	return err
}

func amountsAreExact(ctx context.Context, v *visitor) error {
	samples, err := sample[[]struct {
		About string
		Body  json.RawMessage
		Cents int64
	}]("orders", "valid.json")
	if err != nil {
		return err
	}
	var problems []error
	for _, s := range samples {
		p, err := v.place(ctx, string(s.Body))
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.About, err))
			continue
		}
		a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders/"+p.OrderID, "")
		if err != nil {
			return err
		}
		o, err := decode[order](a, http.StatusOK)
		if err == nil && cents(o.Amount) != s.Cents {
			err = a.wrong("want %d cents", s.Cents)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.About, err))
		}
	}
	return errors.Join(problems...)
}

// cents reads an amount as it is answered: at most two decimals, no exponent.
func cents(amount json.Number) int64 {
	whole, fraction, _ := strings.Cut(amount.String(), ".")
	if len(fraction) > 2 {
		return -1
	}
	n, err := json.Number(whole + fraction + strings.Repeat("0", 2-len(fraction))).Int64()
	if err != nil {
		return -1
	}
	return n
}

// bodyLimit is what no order needs.
const bodyLimit = 64 << 10

func badOrdersAreRefused(ctx context.Context, v *visitor) error {
	samples, err := sample[[]struct {
		About, Body string
		Fields      []string
	}]("orders", "invalid.json")
	if err != nil {
		return err
	}
	var problems []error
	refuse := func(about, body, code string, fields []string) {
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", body)
		if err == nil {
			err = refused(a, http.StatusBadRequest, code, fields...)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", about, err))
		}
	}
	for _, s := range samples {
		code := "invalid_order"
		if s.Fields == nil {
			code = "malformed_json"
		}
		refuse(s.About, s.Body, code, s.Fields)
	}
	refuse("huge body", `{"customerId": "`+strings.Repeat("x", bodyLimit)+`", "amount": 1}`, "body_too_large", nil)
	return errors.Join(problems...)
}

func badRequestsAreRefused(ctx context.Context, v *visitor) error {
	none := "/orders/" + uuid.NewString()
	var problems []error
	for _, c := range []struct {
		method, url string
		status      int
		code        string
		fields      []string
	}{
		{"GET", v.OrdersURL + "/orders?limit=0", 400, "invalid_request", []string{"limit"}},
		{"GET", v.OrdersURL + "/orders?limit=-1", 400, "invalid_request", []string{"limit"}},
		{"GET", v.OrdersURL + "/orders?limit=1001", 400, "invalid_request", []string{"limit"}},
		{"GET", v.OrdersURL + "/orders?limit=ten", 400, "invalid_request", []string{"limit"}},
		{"GET", v.OrdersURL + "/orders?limit=", 400, "invalid_request", []string{"limit"}},
		{"GET", v.OrdersURL + "/orders/abc", 400, "invalid_request", []string{"id"}},
		{"GET", v.OrdersURL + none, 404, "order_not_found", nil},
		{"GET", v.OrdersURL + "/", 404, "not_found", nil},
		{"GET", v.OrdersURL + "/orders/", 404, "not_found", nil},
		{"POST", v.OrdersURL + "/nowhere", 404, "not_found", nil},
		{"PUT", v.OrdersURL + "/orders", 405, "method_not_allowed", nil},
		{"DELETE", v.OrdersURL + none, 405, "method_not_allowed", nil},
		{"POST", v.OrdersURL + "/health/ready", 405, "method_not_allowed", nil},
		{"GET", v.NotificationsURL + "/notifications", 400, "invalid_request", []string{"orderId"}},
		{"GET", v.NotificationsURL + "/notifications?orderId=", 400, "invalid_request", []string{"orderId"}},
		{"GET", v.NotificationsURL + "/notifications?orderId=5", 400, "invalid_request", []string{"orderId"}},
		{"GET", v.NotificationsURL + "/notifications?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a8z", 400, "invalid_request", []string{"orderId"}},
		{"GET", v.NotificationsURL + "/", 404, "not_found", nil},
		{"POST", v.NotificationsURL + "/notifications", 405, "method_not_allowed", nil},
	} {
		a, err := v.ask(ctx, c.method, c.url, "")
		if err == nil {
			err = refused(a, c.status, c.code, c.fields...)
		}
		if err == nil && c.status == http.StatusMethodNotAllowed && a.header.Get("Allow") == "" {
			err = a.wrong("want the header Allow")
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
