package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asimalizada/pulse-events/internal/clip"
)

// Keys of attributes that spans alone have: how many messages of a batch came to what.
const (
	ReturnedKey = attribute.Key("pulse.outbox.publish.returned") // no queue is bound for them
	RefusedKey  = attribute.Key("pulse.outbox.publish.refused")
	UnknownKey  = attribute.Key("pulse.outbox.publish.unknown") // without a verdict

	AppliedKey    = attribute.Key("pulse.inbox.batch.applied")
	DuplicatesKey = attribute.Key("pulse.inbox.batch.duplicates")
	ConflictsKey  = attribute.Key("pulse.inbox.batch.conflicts")

	AckedKey        = attribute.Key("pulse.inbox.settle.acked")
	RetriedKey      = attribute.Key("pulse.inbox.settle.retried")
	DeadLetteredKey = attribute.Key("pulse.inbox.settle.dead_lettered")
	RequeuedKey     = attribute.Key("pulse.inbox.settle.requeued")
	StaleKey        = attribute.Key("pulse.inbox.settle.stale")  // settled too late: delivered again
	FailedKey       = attribute.Key("pulse.inbox.settle.failed") // to be settled again
)

// Outcomes of a delivery, the values of OutcomeKey.
const (
	OutcomeApplied    = "applied"
	OutcomeDuplicate  = "duplicate"
	OutcomeConflict   = "conflict"
	OutcomeRetry      = "retry"
	OutcomeDeadLetter = "dead_letter"
	OutcomeRequeue    = "requeue" // at a stop
	OutcomeStale      = "stale"   // settled too late: it is delivered again; of metrics alone
)

// MaxLinks bounds the links of a span: what the SDK keeps unless it is told
// otherwise.
const MaxLinks = 128

// Spans starts the spans of a scope. The zero value starts none.
type Spans struct {
	trace.Tracer
	waits bool // for the global provider to be set
}

// NewSpans returns the spans of a scope. A nil provider stands for the global one,
// also if that is set later.
func NewSpans(provider trace.TracerProvider, scope Scope) Spans {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if isNoop(provider) {
		return Spans{}
	}
	return Spans{Tracer: Tracer(provider, scope), waits: isPlaceholder(provider)}
}

// Enabled reports whether there is an SDK that may want a span. Where there is none
// callers neither collect attributes nor start anything: they allocate nothing, and
// contexts stay as they are.
func (s Spans) Enabled() bool {
	if s.Tracer == nil {
		return false
	}
	if !s.waits {
		return true
	}
	provider := otel.GetTracerProvider()
	return !isPlaceholder(provider) && !isNoop(provider)
}

func isNoop(provider trace.TracerProvider) bool {
	switch provider.(type) {
	case noop.TracerProvider, *noop.TracerProvider:
		return true
	}
	return false
}

// isPlaceholder reports whether provider is what OpenTelemetry has as the global one
// until one is set. The API has no other way to ask for that.
func isPlaceholder(provider trace.TracerProvider) bool {
	t := reflect.TypeOf(provider)
	return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global"
}

// Start starts the span of an operation, which is named after it and the
// destination. All attributes are there for samplers to see.
func Start(ctx context.Context, s Spans, kind trace.SpanKind, op Operation, at Endpoint, about []attribute.KeyValue, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	name := op.Name
	if at.Destination != "" {
		name += " " + at.Destination
	}
	return s.Start(ctx, name, append(options, trace.WithSpanKind(kind), trace.WithAttributes(slices.Concat(at.Attributes(), op.Attributes(), about)...))...)
}

// maxText bounds the text of an attribute, in bytes: the longest that AMQP has for
// names and ids.
const maxText = 255

// Text returns an attribute of text that comes from outside, none where it is empty.
// An exporter drops everything that it sends along with text that is no UTF-8.
func Text(key attribute.Key, text string) []attribute.KeyValue {
	if text == "" {
		return nil
	}
	return []attribute.KeyValue{key.String(clip.Text(text, maxText, "…"))}
}

// Links collects links to other spans, up to MaxLinks.
type Links struct {
	list []trace.Link
	seen map[trace.SpanID]struct{}
}

// Full reports whether there is no room for another link.
func (l *Links) Full() bool { return len(l.list) >= MaxLinks }

// Add adds a link. Nothing is added for a span that is not valid or, without
// attributes, has a link already, nor when there is no room.
func (l *Links) Add(span trace.SpanContext, attributes ...attribute.KeyValue) {
	if !span.IsValid() || l.Full() {
		return
	}
	if _, found := l.seen[span.SpanID()]; found && len(attributes) == 0 {
		return
	}
	if l.seen == nil {
		l.seen = make(map[trace.SpanID]struct{})
	}
	l.seen[span.SpanID()] = struct{}{}
	l.list = append(l.list, trace.Link{SpanContext: span, Attributes: attributes})
}

// Option returns the links for the start of a span.
func (l *Links) Option() trace.SpanStartOption { return trace.WithLinks(l.list...) }

// maxStatus bounds the text of a span's status, in bytes.
const maxStatus = 1000

// Fail marks a span as failed. errorType is the value of error.type: a short word
// of a small set.
func Fail(span trace.Span, errorType, description string) {
	span.SetAttributes(Text(ErrorTypeKey, errorType)...)
	span.SetStatus(codes.Error, clip.Text(description, maxStatus, "…"))
}

// ErrorType returns the error.type of an error that nothing better is known of: the Go
// type of what fmt.Errorf and errors.Join have wrapped, of several the first.
func ErrorType(err error) string {
	for {
		inner := errors.Unwrap(err)
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			inner = many.Unwrap()[0]
		}
		if inner == nil || !slices.Contains(wrappers, reflect.TypeOf(err)) {
			return semconv.ErrorType(err).Value.AsString()
		}
		err = inner
	}
}

// wrappers say nothing about an error.
var wrappers = []reflect.Type{
	reflect.TypeOf(fmt.Errorf("%w", io.EOF)), reflect.TypeOf(fmt.Errorf("%w %w", io.EOF, io.EOF)), reflect.TypeOf(errors.Join(io.EOF)),
}
