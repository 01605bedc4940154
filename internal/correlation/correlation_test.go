package correlation

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

func TestContextCarriesIDs(t *testing.T) {
	ctx := t.Context()
	if CorrelationID(ctx) != "" || CausationID(ctx) != "" {
		t.Error("an empty context carries ids")
	}
	if WithCorrelationID(ctx, "") != ctx || WithCausationID(ctx, "") != ctx {
		t.Error("an empty id has made another context")
	}
	ctx = WithCausationID(WithCorrelationID(ctx, "corr"), "cause")
	if CorrelationID(ctx) != "corr" || CausationID(ctx) != "cause" {
		t.Errorf("%q, %q", CorrelationID(ctx), CausationID(ctx))
	}
	// An empty id does not replace the current one.
	if got := CorrelationID(WithCorrelationID(ctx, "")); got != "corr" {
		t.Errorf("%q", got)
	}
	if got := CorrelationID(WithCorrelationID(ctx, "next")); got != "next" {
		t.Errorf("%q", got)
	}
}

func TestNewID(t *testing.T) {
	first, second := NewID(), NewID()
	id, err := uuid.Parse(first)
	if err != nil || id.Version() != 7 || first >= second || !Valid(first) {
		t.Errorf("%s, %s: %v; want UUIDv7 that sort by time", first, second, err)
	}
}

func TestValid(t *testing.T) {
	for _, id := range []string{"a", "!", "~", "checkout/42?x=1", strings.Repeat("x", MaxLength)} {
		if !Valid(id) {
			t.Errorf("%q is not valid", id)
		}
	}
	for _, id := range []string{"", " ", "a b", "a\n", "a\x00", "\x7f", "größe", "\xff", strings.Repeat("x", MaxLength+1)} {
		if Valid(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

func TestInjectTraceExtractTrace(t *testing.T) {
	state, err := trace.ParseTraceState("rojo=1,congo=2")
	if err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	})
	headers := map[string]string{"tenant": "acme"}
	InjectTrace(trace.ContextWithSpanContext(t.Context(), span), headers)
	if got := headers["traceparent"]; got != "00-00000000000000000000000000000001-0000000000000002-01" {
		t.Errorf("traceparent %q", got)
	}
	if headers["tracestate"] != "rojo=1,congo=2" || headers["tenant"] != "acme" {
		t.Errorf("%v", headers)
	}
	got := trace.SpanContextFromContext(ExtractTrace(t.Context(), headers))
	if !got.Equal(span.WithRemote(true)) {
		t.Errorf("%+v, want %+v", got, span)
	}
}

func TestInjectTraceWithoutSpan(t *testing.T) {
	headers := map[string]string{}
	InjectTrace(t.Context(), headers)
	if len(headers) != 0 {
		t.Errorf("%v", headers)
	}
	for _, headers := range []map[string]string{nil, {}, {"traceparent": "nonsense"}} {
		if ctx := ExtractTrace(t.Context(), headers); trace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("%v made a span", headers)
		}
	}
}
