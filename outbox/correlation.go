package outbox

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/correlation"
)

// WithCorrelationID returns ctx carrying the id of the business action, for
// Enqueue and for logs. Call it where a request enters the service; an inbox
// handler's context has it already. An empty id returns ctx unchanged.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return correlation.WithCorrelationID(ctx, id)
}

// CorrelationID returns the correlation id ctx carries, or "".
func CorrelationID(ctx context.Context) string { return correlation.CorrelationID(ctx) }

// WithCausationID returns ctx carrying the id of the message that causes what
// is enqueued next. An inbox handler's context has it already.
func WithCausationID(ctx context.Context, id string) context.Context {
	return correlation.WithCausationID(ctx, id)
}

// CausationID returns the causation id ctx carries, or "".
func CausationID(ctx context.Context) string { return correlation.CausationID(ctx) }
