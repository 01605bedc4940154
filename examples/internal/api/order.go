package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/orders"
)

// IdempotencyKey reads the header of that name. The key is empty where the
// client asks for no protection.
func IdempotencyKey(r *http.Request) (string, error) {
	key, err := orders.ParseIdempotencyKey(r.Header.Values(orders.HeaderIdempotencyKey))
	if err != nil {
		return "", BadField(orders.HeaderIdempotencyKey, "%v", err)
	}
	return key, nil
}

// KeyReused answers orders.ErrKeyReused.
func KeyReused() *Error {
	return &Error{
		Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Message: orders.ErrKeyReused.Error(),
		Fields: []FieldError{{orders.HeaderIdempotencyKey, "was used for another order"}},
	}
}

// WriteReceipt answers an order that was placed, now or before.
func WriteReceipt(w http.ResponseWriter, receipt orders.Receipt, replayed bool) error {
	w.Header().Set("Location", "/orders/"+receipt.OrderID.String())
	if replayed {
		w.Header().Set(orders.HeaderReplayed, "true")
	}
	return Write(w, http.StatusCreated, receipt)
}

// NoOrder answers the question for an order that there is not.
func NoOrder(id uuid.UUID) *Error {
	return &Error{Status: http.StatusNotFound, Code: "order_not_found", Message: "there is no order " + id.String()}
}

// ReadDraft reads the order a customer asks for. The error names every bad
// field.
func ReadDraft(w http.ResponseWriter, r *http.Request) (orders.Draft, error) {
	if err := requireJSON(r); err != nil {
		return orders.Draft{}, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return orders.Draft{}, &Error{
			Status: http.StatusBadRequest, Code: "body_too_large",
			Message: fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit),
		}
	}
	if err != nil {
		return orders.Draft{}, &Error{
			Status: http.StatusBadRequest, Code: "body_unreadable", Message: "the body ended early or came too slowly",
		}
	}
	draft, err := orders.ParseDraft(body)
	if invalid, ok := errors.AsType[*orders.InvalidError](err); ok {
		refusal := &Error{Status: http.StatusBadRequest, Code: "invalid_order", Message: "the order is not valid; see fields"}
		for _, f := range invalid.Fields {
			refusal.Fields = append(refusal.Fields, FieldError(f))
		}
		return orders.Draft{}, refusal
	}
	if errors.Is(err, orders.ErrMalformed) {
		return orders.Draft{}, &Error{Status: http.StatusBadRequest, Code: "malformed_json", Message: err.Error()}
	}
	return draft, err
}
