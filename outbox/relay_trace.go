package outbox

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// startPublish starts the span of a call of Publish, which belongs to no trace of a
// message: it has messages of many. Links lead to the spans that created them. What
// the messages carry stays as it is. The span is nil where nobody wants one.
func (r *Relay) startPublish(ctx context.Context, msgs []Message) (context.Context, trace.Span) {
	if !r.spans.Enabled() {
		return ctx, nil
	}
	var links telemetry.Links
	for i := range msgs {
		if links.Full() {
			break
		}
		links.Add(correlation.SpanContext(msgs[i].Headers))
	}
	return telemetry.Start(ctx, r.spans, trace.SpanKindClient, telemetry.Publish, r.endpoint(),
		[]attribute.KeyValue{telemetry.BatchCountKey.Int(len(msgs))}, trace.WithNewRoot(), links.Option())
}

// endPublish ends the span with what became of its n messages.
func (r *Relay) endPublish(span trace.Span, n int, results []error) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	var returned, refused, unknown int
	var worst error
	if len(results) != n {
		results, unknown, worst = nil, n, Unavailable(errors.New("the publisher gave verdicts on other messages"))
	}
	for _, err := range results {
		switch judge(err) {
		case published:
			continue
		case none:
			unknown++
		default:
			if errors.Is(err, ErrUnroutable) {
				returned++
			} else {
				refused++
			}
		}
		if worst == nil || judge(err) == none {
			worst = err
		}
	}
	span.SetAttributes(telemetry.ReturnedKey.Int(returned), telemetry.RefusedKey.Int(refused), telemetry.UnknownKey.Int(unknown))
	if worst != nil {
		telemetry.Fail(span, verdictName(worst), fmt.Sprintf("%d of %d messages are not published: %v", returned+refused+unknown, n, worst))
	}
}
