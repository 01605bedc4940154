package outbox

import (
	"context"
	"errors"
	"maps"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/telemetry"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Values of WithCreateSpans.
const (
	// DefaultCreateSpans is used unless WithCreateSpans sets another number.
	DefaultCreateSpans = 20
	// NoCreateSpans makes no span: messages carry the trace context of the caller.
	NoCreateSpans = -1
)

// defaultSystem is the broker that this module has a publisher for.
const defaultSystem = "rabbitmq"

// WithCreateSpans sets up to how many messages of one call of Enqueue each get a
// span "create" of their own. A call with more gets one span for all of them: 0
// makes that so for every call. Defaults to DefaultCreateSpans; NoCreateSpans makes
// none.
func WithCreateSpans(perCall int) Option { return func(o *Outbox) { o.createSpans = perCall } }

// WithMessagingSystem sets the attribute messaging.system of these spans, as
// OpenTelemetry names brokers, for outboxes whose messages go to another one.
// Defaults to "rabbitmq".
func WithMessagingSystem(name string) Option { return func(o *Outbox) { o.system = name } }

// createSpans are those of one call of Enqueue.
type createSpans []trace.Span

// startCreate puts the trace context into those of msgs that come without: that of
// their create span, or the one of ctx where there is no such span. What a
// producer has set stays whole: half of it belongs to no span.
func (o *Outbox) startCreate(ctx context.Context, msgs []Message) createSpans {
	if o.createSpans == NoCreateSpans || !o.spans.Enabled() {
		headers := traceHeaders(ctx)
		for i := range msgs {
			carry(&msgs[i], headers)
		}
		return nil
	}
	var bare []*Message
	for i := range msgs {
		if !carriesTrace(&msgs[i]) {
			bare = append(bare, &msgs[i])
		}
	}
	if len(bare) == 0 {
		return nil
	}
	if len(bare) == 1 || len(bare) <= o.createSpans {
		spans := make(createSpans, len(bare))
		for i, m := range bare {
			created, span := o.startSpan(ctx, m.Topic, telemetry.MessageIDKey.String(m.ID.String()),
				telemetry.ConversationIDKey.String(m.CorrelationID), telemetry.RoutingKeyKey.String(m.Topic))
			carry(m, traceHeaders(created))
			spans[i] = span
		}
		return spans
	}
	attributes := []attribute.KeyValue{telemetry.BatchCountKey.Int(len(bare))}
	topic := shared(bare, func(m *Message) string { return m.Topic })
	if topic != "" {
		attributes = append(attributes, telemetry.RoutingKeyKey.String(topic))
	}
	if id := shared(bare, func(m *Message) string { return m.CorrelationID }); id != "" {
		attributes = append(attributes, telemetry.ConversationIDKey.String(id))
	}
	created, span := o.startSpan(ctx, topic, attributes...)
	headers := traceHeaders(created)
	for _, m := range bare {
		carry(m, headers)
	}
	return createSpans{span}
}

// startSpan starts a span about messages of a topic; "": of several topics.
func (o *Outbox) startSpan(ctx context.Context, topic string, about ...attribute.KeyValue) (context.Context, trace.Span) {
	return telemetry.Start(ctx, o.spans, trace.SpanKindProducer, telemetry.Create, telemetry.Endpoint{System: o.system, Destination: topic}, about)
}

// shared returns what is the same for all of msgs, or "".
func shared(msgs []*Message, of func(*Message) string) string {
	first := of(msgs[0])
	for _, m := range msgs[1:] {
		if of(m) != first {
			return ""
		}
	}
	return first
}

func carriesTrace(m *Message) bool {
	_, set := m.Headers[wire.HeaderTraceParent]
	return set
}

// traceHeaders returns the trace context of ctx as headers; empty: it has none.
func traceHeaders(ctx context.Context) map[string]string {
	headers := make(map[string]string, 2)
	correlation.InjectTrace(ctx, headers)
	return headers
}

// carry adds a trace context to a copy of the message's headers, unless there is one.
func carry(m *Message, trace map[string]string) {
	if len(trace) == 0 || carriesTrace(m) {
		return
	}
	merged := maps.Clone(trace)
	maps.Copy(merged, m.Headers)
	m.Headers = merged
}

// end ends the spans; err is why their messages could not be stored.
func (s createSpans) end(err error) {
	for _, span := range s {
		if err != nil {
			telemetry.Fail(span, createErrorType(err), err.Error())
		}
		span.End()
	}
}

// createErrorType says in a word why messages could not be stored.
func createErrorType(err error) string {
	switch state := sqldb.SQLState(err); {
	case errors.Is(err, ErrDuplicateID):
		return "duplicate-id"
	case errors.Is(err, ErrSchema):
		return "schema"
	case state != "":
		return state
	}
	return telemetry.ErrorType(err)
}
