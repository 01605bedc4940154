package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// RequestTimeout bounds the work on one request.
const RequestTimeout = 10 * time.Second

// maxBody is how many bytes the body of a request may have.
const maxBody = 64 << 10

// Limits of a list.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// Context returns the context of a request with its correlation id and its
// trace context, unless it has a span already: a new id where there is none, or
// a bad one. One that could
// not travel on is refused: replacing it would break the caller's trail. So is
// what a web page of another site may have sent.
func Context(r *http.Request) (context.Context, *Error) {
	id, refusal := correlationID(r.Header)
	if stranger := refuseStrangers(r); stranger != nil {
		refusal = stranger
	}
	ctx := r.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	return outbox.WithCorrelationID(ctx, id), refusal
}

func correlationID(h http.Header) (string, *Error) {
	given := h.Values(wire.HeaderCorrelationID)
	switch {
	case len(given) == 0:
		return newCorrelationID(), nil
	case len(given) > 1:
		return newCorrelationID(), BadField(wire.HeaderCorrelationID, "is given %d times", len(given))
	case !outbox.ValidCorrelationID(given[0]):
		return newCorrelationID(), BadField(wire.HeaderCorrelationID,
			"must be 1 to 255 visible ASCII characters")
	}
	return given[0], nil
}

func newCorrelationID() string { return uuid.Must(uuid.NewV7()).String() }

// ParseUUID takes the usual form with hyphens only.
func ParseUUID(field, text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, BadField(field, "must be a UUID, such as 0198c0de-7a10-7f00-8a44-3e2d1c0b9a87")
	}
	return id, nil
}

// OrderID reads the parameter by which notifications are asked for.
func OrderID(r *http.Request) (uuid.UUID, error) {
	query := r.URL.Query()
	if !query.Has("orderId") {
		return uuid.Nil, BadField("orderId", "is required, as in /notifications?orderId=<uuid>")
	}
	return ParseUUID("orderId", query.Get("orderId"))
}

// Limit reads how many rows of a list are asked for.
func Limit(r *http.Request) (int, error) {
	query := r.URL.Query()
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, BadField("limit", "must be a whole number from 1 to %d", maxLimit)
	}
	return limit, nil
}
