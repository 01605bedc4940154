package outbox

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/correlation"
)

// ValidCorrelationID reports whether id can travel as a correlation or causation
// id through HTTP, AMQP and logs alike: 1 to 255 visible ASCII characters. Ask it
// where ids come in from outside.
func ValidCorrelationID(id string) bool { return correlation.Valid(id) }

// WithCorrelationID returns ctx carrying the id of the business action, for
// Enqueue and for logs. Call it where a request enters the service; an inbox
// handler's context has it already. An empty id returns ctx unchanged.
// Enqueue replaces one that is not valid.
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
