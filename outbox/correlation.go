package outbox

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/correlation"
)

// ValidCorrelationID reports whether id is valid as a correlation or causation id:
// 1 to 255 visible ASCII characters, which HTTP, AMQP and logs can hold. Use it to
// check ids of requests.
func ValidCorrelationID(id string) bool { return correlation.Valid(id) }

// WithCorrelationID returns a context with the id of the business action, which
// Enqueue uses. Call it where a request enters the service; the context of an inbox
// handler has it already. If id is empty it returns ctx. Enqueue replaces an
// invalid id.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return correlation.WithCorrelationID(ctx, id)
}

// CorrelationID returns the correlation id of ctx, or "".
func CorrelationID(ctx context.Context) string { return correlation.CorrelationID(ctx) }

// WithCausationID returns a context with the id of the message that causes those
// enqueued with it. The context of an inbox handler has it already.
func WithCausationID(ctx context.Context, id string) context.Context {
	return correlation.WithCausationID(ctx, id)
}

// CausationID returns the causation id of ctx, or "".
func CausationID(ctx context.Context) string { return correlation.CausationID(ctx) }
