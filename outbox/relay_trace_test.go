package outbox

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// TestTracingWithoutSDK tests that relay and Enqueue do nothing for spans that nobody
// wants. Package internal/spans tests those that somebody wants.
func TestTracingWithoutSDK(t *testing.T) {
	spans := telemetry.NewSpans(nil, telemetry.Outbox)
	r, o := &Relay{spans: spans}, &Outbox{spans: spans, createSpans: DefaultCreateSpans, system: defaultSystem}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	msgs, results := make([]Message, 100), make([]error, 100)
	if n := testing.AllocsPerRun(100, func() {
		within, span := r.startPublish(ctx, msgs)
		r.endPublish(span, len(msgs), results)
		if within != ctx {
			t.Error("the context is another one")
		}
	}); n != 0 {
		t.Errorf("%v allocations for the span of a batch, want none", n)
	}
	// A caller without a trace, as the headers of one are what the message needs.
	bare := context.Background()
	headers := testing.AllocsPerRun(100, func() { traceHeaders(bare) })
	if n := testing.AllocsPerRun(100, func() { o.startCreate(bare, msgs).end(nil) }); n != headers {
		t.Errorf("%v allocations for the spans of Enqueue, want those of propagation alone, %v", n, headers)
	}
}
