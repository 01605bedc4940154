package inbox

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// TestTracingWithoutSDK tests that the consumer does nothing for spans that nobody
// wants, and that handlers keep the trace of their message. Package internal/spans
// tests spans that somebody wants.
func TestTracingWithoutSDK(t *testing.T) {
	tracing := &tracing{spans: telemetry.NewSpans(nil, telemetry.Inbox), consumer: "notifications"}
	ctx := t.Context()
	ds := make([]Delivery, 100)
	o := requeued(ds)
	if n := testing.AllocsPerRun(100, func() {
		within, p := tracing.startProcess(ctx, ds)
		p.event("held", errStuck)
		p.rollBack(errStuck)
		processOf(within).end(o)
		p.close()
		within, span := tracing.startSettle(p.context(within), o.settlements)
		endSettle(span, settleCounts{})
		if within != ctx {
			t.Error("the context is another one")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	msg := Message{ID: "event-1", Headers: map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	if got := trace.SpanContextFromContext(msg.context(ctx)); got.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("a handler works in span %s", got.SpanID())
	}
}

func TestErrorType(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&CrashLoopError{Starts: 3}, "crash-loop"},
		{&HandlerTimeoutError{Limit: time.Second, Err: errStuck}, "timeout"},
		{&PanicError{Value: 1}, "panic"},
		{&txError{phase: handling, err: fmt.Errorf("call: %w", &MisuseError{Problem: "p"})}, "misuse"},
		{&txError{phase: handling, err: &IdleTransactionError{Err: errStuck}}, "idle-transaction"},
		{&LockedError{}, "locked"},
		{&aloneError{"SET"}, "session-change"},
		{Unavailable(errStuck), "unavailable"},
		{DeadLetterFor(errStuck, ReasonExpired), "expired"},
		{DeadLetter(nil), "handler"},
		{Retry(nil, time.Second), "handler"},
		{&txError{phase: handling, err: &routeError{err: Retry(errors.New("no"), time.Second)}}, "*errors.errorString"},
	} {
		if got := errorType(c.err); got != c.want {
			t.Errorf("%T %v: %q; want %q", c.err, c.err, got, c.want)
		}
	}
}
