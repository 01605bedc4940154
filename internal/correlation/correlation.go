// Package correlation carries the ids of a business action (correlation id,
// causation id, W3C trace context) in a context.Context, so that they reach
// rows, messages, handlers and logs without being passed explicitly.
//
// The correlation id names the whole action and never changes. The causation id
// names the direct cause: the id of the message being handled while the next
// one is written.
package correlation

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// MaxLength is the maximum length of a correlation or causation id in bytes:
// the size of an AMQP short string.
const MaxLength = 255

type (
	correlationKey struct{}
	causationKey   struct{}
)

// WithCorrelationID returns ctx with id. An empty id returns ctx unchanged.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return context.WithValue(ctx, correlationKey{}, id)
}

// CorrelationID returns the correlation id in ctx, or "".
func CorrelationID(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// WithCausationID returns ctx with the id of the message that causes what is
// done with it. An empty id returns ctx unchanged.
func WithCausationID(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return context.WithValue(ctx, causationKey{}, id)
}

// CausationID returns the causation id in ctx, or "".
func CausationID(ctx context.Context) string {
	id, _ := ctx.Value(causationKey{}).(string)
	return id
}

// NewID returns a new correlation id: a UUIDv7 as text, so that ids sort by
// time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Valid reports whether id can be used in an HTTP header, an AMQP property and
// a log line: 1 to MaxLength visible ASCII characters.
func Valid(id string) bool {
	return len(id) > 0 && len(id) <= MaxLength &&
		!strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// traceContext reads and writes the headers traceparent and tracestate.
// Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
var traceContext propagation.TraceContext

// InjectTrace writes the trace context of ctx into headers, which must not be
// nil. Without a valid span in ctx nothing is written.
func InjectTrace(ctx context.Context, headers map[string]string) {
	traceContext.Inject(ctx, propagation.MapCarrier(headers))
}

// ExtractTrace returns ctx with the remote span in headers, or ctx itself if
// there is none.
func ExtractTrace(ctx context.Context, headers map[string]string) context.Context {
	return traceContext.Extract(ctx, propagation.MapCarrier(headers))
}

// SpanContext returns the span in headers; invalid: there is none.
func SpanContext(headers map[string]string) trace.SpanContext {
	return trace.SpanContextFromContext(ExtractTrace(context.Background(), headers))
}
