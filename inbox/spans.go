package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// tracing starts the spans of a consumer.
type tracing struct {
	spans     telemetry.Spans
	source    Source
	consumer  string
	continues bool // see ConsumerConfig.ContinueTrace
}

// process is the span of an attempt. nil, on which all methods can be called, is that
// of a program without an SDK.
type process struct {
	span   trace.Span
	single bool // of one message, whose handler works in it
	ended  bool
}

type processKey struct{}

func processOf(ctx context.Context) *process {
	p, _ := ctx.Value(processKey{}).(*process)
	return p
}

// context returns ctx inside the span.
func (p *process) context(ctx context.Context) context.Context {
	if p == nil {
		return ctx
	}
	return context.WithValue(trace.ContextWithSpan(ctx, p.span), processKey{}, p)
}

func (t *tracing) endpoint() telemetry.Endpoint {
	if described, ok := t.source.(Describer); ok {
		return telemetry.Endpoint(described.Endpoint())
	}
	return telemetry.Endpoint{}
}

// startProcess starts the span of an attempt at ds. That of one message is linked to
// the span that created it, or continues its trace. That of a batch belongs to no
// trace of a message, and has links to all of them.
func (t *tracing) startProcess(ctx context.Context, ds []Delivery) (context.Context, *process) {
	if !t.spans.Enabled() {
		return ctx, nil
	}
	about := telemetry.Text(telemetry.ConsumerKey, t.consumer)
	var links telemetry.Links
	var options []trace.SpanStartOption
	parent := trace.WithNewRoot()
	if len(ds) == 1 {
		m := &ds[0].Message
		about = append(slices.Concat(about, telemetry.Text(telemetry.MessageIDKey, m.ID), telemetry.Text(telemetry.ConversationIDKey, m.CorrelationID),
			telemetry.Text(telemetry.RoutingKeyKey, m.Topic)), telemetry.AttemptKey.Int(ds[0].Failures+1))
		creator := correlation.SpanContext(m.Headers)
		if t.continues && creator.IsValid() {
			ctx, parent = trace.ContextWithRemoteSpanContext(ctx, creator), nil
		} else {
			links.Add(creator)
		}
	} else {
		about = append(about, telemetry.BatchCountKey.Int(len(ds)))
		for i := range ds {
			if links.Full() {
				break
			}
			links.Add(correlation.SpanContext(ds[i].Message.Headers), telemetry.Text(telemetry.MessageIDKey, ds[i].Message.ID)...)
		}
	}
	if parent != nil {
		options = append(options, parent)
	}
	ctx, span := telemetry.Start(ctx, t.spans, trace.SpanKindConsumer, telemetry.Process, t.endpoint(), about, append(options, links.Option())...)
	p := &process{span: span, single: len(ds) == 1}
	return context.WithValue(ctx, processKey{}, p), p
}

// event notes something on the way to the outcome.
func (p *process) event(name string, err error) {
	if p != nil && p.span.IsRecording() {
		p.span.AddEvent(name, trace.WithAttributes(telemetry.ErrorTypeKey.String(errorType(err))))
	}
}

// end ends the span with what is to become of its messages.
func (p *process) end(o outcome) {
	if p == nil || p.ended {
		return
	}
	if len(o.settlements) == 1 {
		p.span.SetAttributes(telemetry.OutcomeKey.String(o.word()))
	} else {
		p.span.SetAttributes(telemetry.AppliedKey.Int64(o.applied), telemetry.DuplicatesKey.Int64(o.duplicates), telemetry.ConflictsKey.Int(o.conflicts()))
	}
	for _, st := range o.settlements {
		if st.Err != nil {
			telemetry.Fail(p.span, settledErrorType(st), st.Err.Error())
			break
		}
	}
	p.close()
}

// rollBack ends the span of a batch that comes to nothing, and is to be run message
// by message.
func (p *process) rollBack(err error) {
	if p == nil || p.ended {
		return
	}
	p.span.SetAttributes(telemetry.AppliedKey.Int(0), telemetry.DuplicatesKey.Int(0), telemetry.ConflictsKey.Int(0))
	telemetry.Fail(p.span, errorType(err), err.Error())
	p.close()
}

// close ends the span as it is, if it has not ended.
func (p *process) close() {
	if p == nil || p.ended {
		return
	}
	p.ended = true
	p.span.End()
}

// word is what is to become of a single message.
func (o outcome) word() string {
	st := o.settlements[0]
	switch {
	case o.applied > 0:
		return telemetry.OutcomeApplied
	case o.duplicates > 0:
		return telemetry.OutcomeDuplicate
	case st.Action == ActionDeadLetter && st.Reason == ReasonConflict:
		return telemetry.OutcomeConflict
	case st.Action == ActionDeadLetter:
		return telemetry.OutcomeDeadLetter
	case st.Action == ActionRetry:
		return telemetry.OutcomeRetry
	}
	return telemetry.OutcomeRequeue
}

func (o outcome) conflicts() (n int) {
	for _, st := range o.settlements {
		if st.Reason == ReasonConflict {
			n++
		}
	}
	return n
}

// startSettle starts the span of a call of Settle, within the one in which its
// messages were handled. Where these are several, it is within the first and linked
// to the others.
func (t *tracing) startSettle(ctx context.Context, settlements []Settlement) (context.Context, trace.Span) {
	if !t.spans.Enabled() {
		return ctx, nil
	}
	var within *process
	var links telemetry.Links
	for _, st := range settlements {
		switch {
		case st.process == nil || st.process == within:
		case within == nil:
			within = st.process
		default:
			links.Add(st.process.span.SpanContext())
		}
	}
	options := []trace.SpanStartOption{links.Option()}
	if within == nil {
		options = append(options, trace.WithNewRoot())
	} else {
		ctx = trace.ContextWithSpan(ctx, within.span)
	}
	about := append(telemetry.Text(telemetry.ConsumerKey, t.consumer), telemetry.BatchCountKey.Int(len(settlements)))
	return telemetry.Start(ctx, t.spans, trace.SpanKindClient, telemetry.Settle, t.endpoint(), about, options...)
}

// settleFailed is the error.type of a call of Settle.
const settleFailed = "unsettled"

// settleCounts say what a call of Settle has done.
type settleCounts struct {
	by        [ActionRequeue + 1]int64 // action
	conflicts int64                    // of those dead-lettered
	stale     int64
	failed    int
	err       error // why
}

// add counts a settlement that was carried out by an action.
func (c *settleCounts) add(st Settlement, action Action) {
	c.by[action]++
	if action == ActionDeadLetter && st.Reason == ReasonConflict {
		c.conflicts++
	}
}

func endSettle(span trace.Span, c settleCounts) {
	if span == nil {
		return
	}
	for _, count := range []struct {
		key attribute.Key
		n   int64
	}{
		{telemetry.AckedKey, c.by[ActionAck]}, {telemetry.RetriedKey, c.by[ActionRetry]}, {telemetry.DeadLetteredKey, c.by[ActionDeadLetter]},
		{telemetry.RequeuedKey, c.by[ActionRequeue]}, {telemetry.StaleKey, c.stale}, {telemetry.FailedKey, int64(c.failed)},
	} {
		if count.n > 0 {
			span.SetAttributes(count.key.Int64(count.n))
		}
	}
	if c.err != nil {
		telemetry.Fail(span, settleFailed, fmt.Sprintf("%d are to be settled again: %v", c.failed, c.err))
	}
	span.End()
}

// settledErrorType says in a word why a message is not applied: the reason that its
// settlement gives, unless that says no more than that the handler failed.
func settledErrorType(st Settlement) string {
	if st.Reason != "" && st.Reason != ReasonHandler {
		return string(st.Reason)
	}
	return errorType(st.Err)
}

// errorType says in a word what an error of an attempt is.
func errorType(err error) string {
	if asked, ok := errors.AsType[*DeadLetterError](err); ok && (asked.Reason != ReasonHandler || asked.Err == nil) {
		return string(asked.Reason)
	}
	if asked, ok := errors.AsType[*RetryError](err); ok && asked.Err == nil {
		return string(ReasonHandler)
	}
	switch {
	case is[*CrashLoopError](err):
		return string(ReasonCrashLoop)
	case is[*HandlerTimeoutError](err):
		return "timeout"
	case is[*PanicError](err):
		return "panic"
	case is[*MisuseError](err):
		return "misuse"
	case is[*IdleTransactionError](err):
		return "idle-transaction"
	case is[*LockedError](err):
		return "locked"
	case is[*aloneError](err):
		return "session-change"
	case is[*UnavailableError](err):
		return "unavailable"
	}
	if state := sqldb.SQLState(err); state != "" {
		return state
	}
	return telemetry.ErrorType(handlersOwn(err))
}

// handlersOwn takes away what this package has wrapped around an error.
func handlersOwn(err error) error {
	for {
		var inner error
		switch wrapped := err.(type) {
		case *txError:
			inner = wrapped.err
		case *routeError:
			inner = wrapped.err
		case *RetryError:
			inner = wrapped.Err
		case *DeadLetterError:
			inner = wrapped.Err
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}
