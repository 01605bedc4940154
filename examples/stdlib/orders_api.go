package stdlib

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/asimalizada/pulse-events/examples/orders"
)

func (s *Orders) routes() []route {
	return []route{
		{http.MethodPost, "/orders", s.createOrder},
		{http.MethodGet, "/orders", s.listOrders},
		{http.MethodGet, "/orders/{id}", s.getOrder},
		{http.MethodGet, "/health/live", live},
		{http.MethodGet, "/health/ready", ready(s.log, s.db, s.readiness)},
	}
}

func (s *Orders) createOrder(w http.ResponseWriter, r *http.Request) error {
	key, err := orders.ParseIdempotencyKey(r.Header.Values(orders.HeaderIdempotencyKey))
	if err != nil {
		return badField(orders.HeaderIdempotencyKey, "%v", err)
	}
	draft, err := readDraft(w, r)
	if err != nil {
		return err
	}
	receipt, replayed, err := s.place(r.Context(), draft, key)
	if errors.Is(err, orders.ErrKeyReused) {
		return &apiError{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Message: err.Error(),
			Fields: []fieldError{{orders.HeaderIdempotencyKey, "was used for another order"}}}
	}
	if err != nil {
		return err
	}
	annotate(r.Context(), slog.String("order_id", receipt.OrderID.String()), slog.String("event_id", receipt.EventID.String()))
	w.Header().Set("Location", "/orders/"+receipt.OrderID.String())
	if replayed {
		annotate(r.Context(), slog.Bool("replayed", true))
		w.Header().Set(orders.HeaderReplayed, "true")
	}
	return writeJSON(w, http.StatusCreated, receipt)
}

func readDraft(w http.ResponseWriter, r *http.Request) (orders.Draft, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return orders.Draft{}, &apiError{
			Status: http.StatusBadRequest, Code: "body_too_large",
			Message: fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit),
		}
	}
	if err != nil {
		return orders.Draft{}, &apiError{
			Status: http.StatusBadRequest, Code: "body_unreadable", Message: "the body ended early or came too slowly",
		}
	}
	draft, err := orders.ParseDraft(body)
	if invalid, ok := errors.AsType[*orders.InvalidError](err); ok {
		refusal := &apiError{Status: http.StatusBadRequest, Code: "invalid_order", Message: "the order is not valid; see fields"}
		for _, f := range invalid.Fields {
			refusal.Fields = append(refusal.Fields, fieldError(f))
		}
		return orders.Draft{}, refusal
	}
	if errors.Is(err, orders.ErrMalformed) {
		return orders.Draft{}, &apiError{Status: http.StatusBadRequest, Code: "malformed_json", Message: err.Error()}
	}
	return draft, err
}

func (s *Orders) getOrder(w http.ResponseWriter, r *http.Request) error {
	id, err := parseUUID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	annotate(r.Context(), slog.String("order_id", id.String()))
	var order orders.Order
	err = s.db.GetContext(r.Context(), &order, s.db.queries.Get("get_order"), id)
	if errors.Is(err, sql.ErrNoRows) {
		return &apiError{Status: http.StatusNotFound, Code: "order_not_found", Message: "there is no order " + id.String()}
	}
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	order.CreatedAt = order.CreatedAt.UTC()
	return writeJSON(w, http.StatusOK, order)
}

func (s *Orders) listOrders(w http.ResponseWriter, r *http.Request) error {
	limit, err := parseLimit(r)
	if err != nil {
		return err
	}
	list := []orders.Order{}
	if err := s.db.SelectContext(r.Context(), &list, s.db.queries.Get("list_orders"), limit); err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	for i := range list {
		list[i].CreatedAt = list[i].CreatedAt.UTC()
	}
	return writeJSON(w, http.StatusOK, list)
}
