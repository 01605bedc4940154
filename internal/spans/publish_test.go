package spans_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

// broker is a publisher that says where it publishes to.
type broker struct {
	outboxtest.Recorder
	within []trace.SpanContext // of each call of Publish
}

func (b *broker) Endpoint() outbox.Endpoint {
	return outbox.Endpoint{System: "rabbitmq", Destination: "pulse.events", Address: "mq.example", Port: 5672}
}

func (b *broker) Publish(ctx context.Context, msgs []outbox.Message) []error {
	b.within = append(b.within, trace.SpanContextFromContext(ctx))
	return b.Recorder.Publish(ctx, msgs)
}

// drain publishes what is pending, within a span of the caller.
func drain(t *testing.T, r *recorder, ob *outbox.Outbox, p outbox.Publisher) {
	t.Helper()
	relay, err := outbox.NewRelay(ob, p, outbox.RelayConfig{TracerProvider: r, Lanes: 1, BatchSize: 2000, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := r.Tracer("test").Start(t.Context(), "drain")
	defer span.End()
	if _, err := relay.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	r, b := newRecorder(), &broker{}
	ob, db := newOutbox(t, outbox.WithTracerProvider(r))
	if err := enqueue(t.Context(), t, ob, db, messages(2, "order.created")...); err != nil {
		t.Fatal(err)
	}
	rows := carried(t, ob)
	drain(t, r, ob, b)

	const want = `messaging.batch.message_count=2
messaging.destination.name=pulse.events
messaging.operation.name=publish
messaging.operation.type=send
messaging.system=rabbitmq
pulse.outbox.publish.refused=0
pulse.outbox.publish.returned=0
pulse.outbox.publish.unknown=0
server.address=mq.example
server.port=5672`
	span := r.await(t, 1, "publish pulse.events")[0]
	if got := attributesText(span.Attributes); got != want || span.SpanKind != trace.SpanKindClient || span.Status.Code != codes.Unset {
		t.Errorf("kind %v, status %+v, got\n%s\nwant\n%s", span.SpanKind, span.Status, got, want)
	}
	for i, created := range r.await(t, 2, "create order.created") {
		if len(span.Links) != 2 || !slices.ContainsFunc(span.Links, func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == created.SpanContext.SpanID() }) {
			t.Errorf("no link to create span %d: %+v", i, span.Links)
		}
	}
	const atStart = "messaging.batch.message_count=2\nmessaging.destination.name=pulse.events\nmessaging.operation.name=publish\n" +
		"messaging.operation.type=send\nmessaging.system=rabbitmq\nserver.address=mq.example\nserver.port=5672"
	if at := r.sampler.at(span.Name); at != atStart {
		t.Errorf("samplers see\n%s", at)
	}
	if span.Parent.IsValid() {
		t.Error("the span is within another: that of Drain's caller")
	}
	if !b.within[0].Equal(span.SpanContext) {
		t.Error("the publisher does not work within the span")
	}
	var sent []string
	for _, m := range b.Published() {
		sent = append(sent, m.Headers["traceparent"])
	}
	slices.Sort(sent)
	slices.Sort(rows)
	if !slices.Equal(sent, rows) {
		t.Errorf("published with %q, the rows carry %q", sent, rows)
	}
}

// TestPublishLinksAreBounded tests that a large batch has 128 links, and none twice.
func TestPublishLinksAreBounded(t *testing.T) {
	r := newRecorder()
	ob, db := newOutbox(t)
	msgs := messages(300, "a")
	for i := range msgs {
		msgs[i].Headers = map[string]string{"traceparent": fmt.Sprintf("00-%032x-%016x-01", 1, i/2+1)}
	}
	if err := enqueue(t.Context(), t, ob, db, msgs...); err != nil {
		t.Fatal(err)
	}
	drain(t, r, ob, &broker{})
	span := r.named("publish pulse.events")[0]
	distinct := make(map[trace.SpanID]bool)
	for _, link := range span.Links {
		distinct[link.SpanContext.SpanID()] = true
	}
	if len(span.Links) != 128 || len(distinct) != 128 || span.DroppedLinks != 0 {
		t.Errorf("%d links to %d spans, %d dropped", len(span.Links), len(distinct), span.DroppedLinks)
	}
}

func TestPublishVerdicts(t *testing.T) {
	for _, c := range []struct {
		name                        string
		verdicts                    []error
		returned, refused, errorTyp string
	}{
		{"returned", []error{nil, outbox.Unroutable(nil), nil}, "1", "0", "unroutable"},
		{"refused", []error{outbox.Rejected(nil), nil, outbox.Permanent(nil)}, "0", "2", "rejected"},
		{"of no class", []error{errors.New("odd"), nil, nil}, "0", "1", "rejected"},
		{"permanent", []error{nil, nil, outbox.Permanent(nil)}, "0", "1", "permanent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, b := newRecorder(), &broker{}
			ob, db := newOutbox(t)
			if err := enqueue(t.Context(), t, ob, db, messages(3, "a")...); err != nil {
				t.Fatal(err)
			}
			b.FailNext(c.verdicts...)
			drain(t, r, ob, b)
			span := r.named("publish pulse.events")[0]
			if value(span, "pulse.outbox.publish.returned") != c.returned || value(span, "pulse.outbox.publish.refused") != c.refused ||
				value(span, "pulse.outbox.publish.unknown") != "0" || value(span, "error.type") != c.errorTyp || span.Status.Description == "" {
				t.Errorf("status %+v\n%s", span.Status, attributesText(span.Attributes))
			}
		})
	}
}

func TestPublishUnavailable(t *testing.T) {
	r, b := newRecorder(), &broker{}
	ob, db := newOutbox(t)
	if err := enqueue(t.Context(), t, ob, db, messages(2, "a")...); err != nil {
		t.Fatal(err)
	}
	b.FailNext(outbox.Rejected(nil), outbox.Unavailable(nil))
	drain(t, r, ob, b)
	span := r.named("publish pulse.events")[0]
	if value(span, "pulse.outbox.publish.unknown") != "1" || value(span, "pulse.outbox.publish.refused") != "1" || value(span, "error.type") != "unavailable" {
		t.Errorf("status %+v\n%s", span.Status, attributesText(span.Attributes))
	}
}
