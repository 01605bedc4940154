package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// started is a provider of an SDK, as far as these tests need one: it counts spans.
type started struct {
	noop.TracerProvider
	spans int
}

type startedTracer struct {
	noop.Tracer
	provider *started
}

func (p *started) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return startedTracer{provider: p}
}

func (t startedTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.provider.spans++
	return t.Tracer.Start(ctx, name, opts...)
}

// TestSpansEnabled tests when spans are made, also with a global provider that is set
// after what traces was made.
// OpenTelemetry's placeholder takes a provider once in a process, so this test has one
// of its own.
func TestSpansEnabled(t *testing.T) {
	const own = "PULSE_TEST_OWN_PROCESS"
	if os.Getenv(own) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), own+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	early := NewSpans(nil, Outbox)
	for name, s := range map[string]Spans{
		"zero": {}, "without a global provider": early, "no-op": NewSpans(noop.NewTracerProvider(), Outbox),
		"the placeholder itself": NewSpans(otel.GetTracerProvider(), Outbox),
	} {
		if s.Enabled() {
			t.Errorf("%s: enabled", name)
		}
		if n := testing.AllocsPerRun(100, func() { s.Enabled() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	sdk := &started{}
	if !NewSpans(sdk, Outbox).Enabled() {
		t.Error("with a provider of an SDK: not enabled")
	}
	// OpenTelemetry passes on to the first provider that is set, so the order matters.
	otel.SetTracerProvider(sdk)
	if !early.Enabled() {
		t.Error("with a global provider that was set later: not enabled")
	}
	early.Start(t.Context(), "late")
	if sdk.spans != 1 {
		t.Errorf("%d spans of the global provider, want 1", sdk.spans)
	}
	otel.SetTracerProvider(noop.NewTracerProvider())
	if early.Enabled() {
		t.Error("the global provider is a no-op one: enabled")
	}
}

func TestLinks(t *testing.T) {
	span := func(n byte) trace.SpanContext {
		return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1, n}})
	}
	var l Links
	l.Add(trace.SpanContext{})
	l.Add(span(1))
	l.Add(span(1))
	l.Add(span(1), attribute.String("id", "a"))
	if len(l.list) != 2 {
		t.Errorf("links %+v, want one, and one with attributes", l.list)
	}
	for n := range 255 {
		l.Add(span(byte(n)))
	}
	if len(l.list) != MaxLinks || !l.Full() {
		t.Errorf("%d links, want %d", len(l.list), MaxLinks)
	}
}

func TestErrorType(t *testing.T) {
	path := &fs.PathError{Err: errors.New("no")}
	for want, err := range map[string]error{
		"*fs.PathError":       fmt.Errorf("open: %w", errors.Join(fmt.Errorf("%w, %w", path, errors.New("other")), errors.New("last"))),
		"*errors.errorString": errors.New("no"),
		"*fmt.wrapErrors":     fmt.Errorf("%w %w", nil, nil),
	} {
		if got := ErrorType(err); got != want {
			t.Errorf("%v: %q; want %q", err, got, want)
		}
	}
}
