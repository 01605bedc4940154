package spans_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// queue is a source that says where it consumes.
type queue struct{ *inboxtest.Queue }

func (q queue) Endpoint() inbox.Endpoint {
	return inbox.Endpoint{System: "rabbitmq", Destination: "orders", Address: "mq.example", Port: 5672}
}

// consumption is a consumer with its spans.
type consumption struct {
	*recorder
	queue
	t    *testing.T
	stop func()
}

func newInbox(t testing.TB) (*inbox.Inbox, *sqlx.DB) {
	t.Helper()
	db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), "inbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in, db
}

// consume starts a consumer of deliveries that all wait when it starts.
func consume(t *testing.T, h inbox.Handler, cfg inbox.ConsumerConfig, ds ...inbox.Delivery) *consumption {
	t.Helper()
	in, _ := newInbox(t)
	return start(t, cfg, func(q queue, cfg inbox.ConsumerConfig) (*inbox.Consumer, error) {
		return inbox.NewConsumer(in, q, h, cfg)
	}, ds...)
}

func start(t *testing.T, cfg inbox.ConsumerConfig, newConsumer func(queue, inbox.ConsumerConfig) (*inbox.Consumer, error), ds ...inbox.Delivery) *consumption {
	t.Helper()
	c := &consumption{t: t, recorder: newRecorder(), queue: queue{inboxtest.NewQueue()}}
	for _, d := range ds {
		c.Deliver(d)
	}
	cfg.TracerProvider, cfg.Workers, cfg.Logger = c.recorder, 1, slog.New(slog.DiscardHandler)
	cfg.Linger = patience // a batch is full when it begins
	cfg.BatchSize = max(cfg.BatchSize, 1)
	cfg.Backoff = func(int) time.Duration { return time.Millisecond }
	consumer, err := newConsumer(c.queue, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// A span of whoever runs the consumer is not to become a parent.
	running, span := c.Tracer("test").Start(t.Context(), "run")
	ctx, cancel := context.WithCancel(running)
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	c.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		done <- nil
		span.End()
	}
	t.Cleanup(c.stop)
	return c
}

// creator returns the context of the span that has created message i.
func creator(i int) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xc, byte(i)}, SpanID: trace.SpanID{0xc, byte(i)}, TraceFlags: trace.FlagsSampled, Remote: true})
}

func delivery(i int) inbox.Delivery {
	return inbox.Delivery{Message: inbox.Message{
		ID: fmt.Sprintf("event-%d", i), Topic: "order.created", Type: "OrderCreated", Payload: []byte("{}"), CorrelationID: "corr-1",
		Headers: map[string]string{"traceparent": traceparent(creator(i))},
	}}
}

func deliveries(n int) (ds []inbox.Delivery) {
	for i := range n {
		ds = append(ds, delivery(i))
	}
	return ds
}

func nothing(context.Context, inbox.Tx, inbox.Message) error { return nil }

func linksTo(s tracetest.SpanStub, creators ...trace.SpanContext) bool {
	return slices.EqualFunc(s.Links, creators, func(l sdktrace.Link, c trace.SpanContext) bool {
		return l.SpanContext.SpanID() == c.SpanID() && l.SpanContext.TraceID() == c.TraceID()
	})
}

func TestProcess(t *testing.T) {
	var handler trace.SpanContext
	c := consume(t, func(ctx context.Context, _ inbox.Tx, _ inbox.Message) error {
		handler = trace.SpanContextFromContext(ctx)
		return nil
	}, inbox.ConsumerConfig{}, delivery(0))
	settled := c.await(t, 1, "settle orders")[0]
	span := c.await(t, 1, "process orders")[0]

	const atStart = `messaging.consumer.group.name=notifications
messaging.destination.name=orders
messaging.message.conversation_id=corr-1
messaging.message.id=event-0
messaging.operation.name=process
messaging.operation.type=process
messaging.rabbitmq.destination.routing_key=order.created
messaging.system=rabbitmq
pulse.inbox.attempt=1
`
	const after = `server.address=mq.example
server.port=5672`
	if got := c.sampler.at(span.Name); got != atStart+after {
		t.Errorf("samplers see\n%s", got)
	}
	if got := attributesText(span.Attributes); got != atStart+"pulse.inbox.outcome=applied\n"+after {
		t.Errorf("attributes\n%s", got)
	}
	if span.Parent.IsValid() || span.SpanKind != trace.SpanKindConsumer || !linksTo(span, creator(0)) {
		t.Errorf("parent %v, kind %v, links %+v", span.Parent.SpanID(), span.SpanKind, span.Links)
	}
	if !handler.Equal(span.SpanContext) {
		t.Errorf("the handler works in span %v, not in %v", handler.SpanID(), span.SpanContext.SpanID())
	}

	const settle = `messaging.batch.message_count=1
messaging.consumer.group.name=notifications
messaging.destination.name=orders
messaging.operation.name=settle
messaging.operation.type=settle
messaging.system=rabbitmq
pulse.inbox.settle.acked=1
`
	if got := attributesText(settled.Attributes); got != settle+after || settled.SpanKind != trace.SpanKindClient ||
		settled.Parent.SpanID() != span.SpanContext.SpanID() || settled.SpanContext.TraceID() != span.SpanContext.TraceID() {
		t.Errorf("kind %v, parent %v\n%s", settled.SpanKind, settled.Parent.SpanID(), got)
	}
}

// TestProcessContinuesTrace tests the option that makes the creator the parent.
func TestProcessContinuesTrace(t *testing.T) {
	bare := delivery(1)
	bare.Message.Headers = nil
	c := consume(t, nothing, inbox.ConsumerConfig{ContinueTrace: true}, delivery(0), bare)
	spans := c.await(t, 2, "process orders")
	if s := spans[0]; s.Parent.SpanID() != creator(0).SpanID() || s.SpanContext.TraceID() != creator(0).TraceID() || len(s.Links) != 0 {
		t.Errorf("parent %v, links %+v", s.Parent.SpanID(), s.Links)
	}
	if s := spans[1]; s.Parent.IsValid() {
		t.Errorf("a message without a trace is within %v", s.Parent.SpanID())
	}
}

// TestProcessBatch tests that a batch has one span, and that each handler keeps the
// trace of its own message.
func TestProcessBatch(t *testing.T) {
	inside := make(map[string]trace.SpanContext)
	ds := append(deliveries(3), delivery(1))
	other := delivery(0)
	other.Message.Payload = []byte("other")
	c := consume(t, func(ctx context.Context, _ inbox.Tx, msg inbox.Message) error {
		inside[msg.ID] = trace.SpanContextFromContext(ctx)
		return nil
	}, inbox.ConsumerConfig{BatchSize: 5}, append(ds, other)...)
	c.await(t, 2, "settle orders")
	span := c.await(t, 1, "process orders")[0]

	const want = `error.type=conflict
messaging.batch.message_count=5
messaging.consumer.group.name=notifications
messaging.destination.name=orders
messaging.operation.name=process
messaging.operation.type=process
messaging.system=rabbitmq
pulse.inbox.batch.applied=3
pulse.inbox.batch.conflicts=1
pulse.inbox.batch.duplicates=1
server.address=mq.example
server.port=5672`
	if got := attributesText(span.Attributes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if span.Parent.IsValid() || !linksTo(span, creator(0), creator(1), creator(2), creator(1), creator(0)) {
		t.Errorf("parent %v, links %+v", span.Parent.SpanID(), span.Links)
	}
	for i, link := range span.Links {
		if got, want := attributesText(link.Attributes), "messaging.message.id=event-"+[]string{"0", "1", "2", "1", "0"}[i]; got != want {
			t.Errorf("link %d has %s, want %s", i, got, want)
		}
	}
	for i := range 3 {
		if got := inside[fmt.Sprintf("event-%d", i)]; got.SpanID() != creator(i).SpanID() {
			t.Errorf("handler %d works in the trace of %v", i, got.SpanID())
		}
	}
	for _, settled := range c.named("settle orders") {
		if settled.Parent.SpanID() != span.SpanContext.SpanID() {
			t.Errorf("settled within %v", settled.Parent.SpanID())
		}
	}
}

func TestProcessBatchLinksAreBounded(t *testing.T) {
	c := consume(t, nothing, inbox.ConsumerConfig{BatchSize: 200}, deliveries(200)...)
	if span := c.await(t, 1, "process orders")[0]; len(span.Links) != 128 || span.DroppedLinks != 0 {
		t.Errorf("%d links, %d dropped", len(span.Links), span.DroppedLinks)
	}
}

// TestProcessDividedBatch tests that a batch which is rolled back says so, and each of
// its messages then has a span of its own.
func TestProcessDividedBatch(t *testing.T) {
	c := consume(t, func(_ context.Context, _ inbox.Tx, msg inbox.Message) error {
		if msg.ID == "event-1" {
			return inbox.DeadLetterFor(errors.New("too old"), inbox.ReasonExpired)
		}
		return nil
	}, inbox.ConsumerConfig{BatchSize: 3}, deliveries(3)...)
	c.await(t, 3, "settle orders")
	spans := c.await(t, 4, "process orders")
	if s := spans[0]; value(s, "messaging.batch.message_count") != "3" || value(s, "error.type") != "expired" || value(s, "pulse.inbox.batch.applied") != "0" {
		t.Errorf("the batch:\n%s", attributesText(s.Attributes))
	}
	for i, want := range []string{"applied", "dead_letter", "applied"} {
		if s := spans[i+1]; s.Parent.IsValid() || value(s, "pulse.inbox.outcome") != want || !linksTo(s, creator(i)) {
			t.Errorf("message %d, within %v, links %+v\n%s", i, s.Parent.SpanID(), s.Links, attributesText(s.Attributes))
		}
	}
}

func TestProcessOutcomes(t *testing.T) {
	undecodable := delivery(0)
	undecodable.Err = errors.New("no JSON")
	garbled := delivery(0)
	garbled.Message.ID, garbled.Message.Topic = "\xff", ""
	failed := delivery(0)
	failed.Failures = 9
	for _, c := range []struct {
		name                        string
		handler                     inbox.Handler
		deliveries                  []inbox.Delivery
		outcome, errorType, attempt string // of the last span
	}{
		{"duplicate", nothing, []inbox.Delivery{delivery(0), delivery(0)}, "duplicate", "", "1"},
		{"undecodable", nothing, []inbox.Delivery{undecodable}, "dead_letter", "undecodable", "1"},
		{"no UTF-8", nothing, []inbox.Delivery{garbled}, "dead_letter", "undecodable", "1"},
		{"panic", func(context.Context, inbox.Tx, inbox.Message) error { panic("no") }, []inbox.Delivery{failed}, "dead_letter", "panic", "10"},
		{"contract", func(context.Context, inbox.Tx, inbox.Message) error {
			return inbox.DeadLetterFor(nil, inbox.ReasonContract)
		}, []inbox.Delivery{delivery(0)}, "dead_letter", "contract", "1"},
		{"error of a type", func(context.Context, inbox.Tx, inbox.Message) error {
			return inbox.DeadLetter(fmt.Errorf("call: %w", &odd{}))
		}, []inbox.Delivery{delivery(0)}, "dead_letter", "*spans_test.odd", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := consume(t, c.handler, inbox.ConsumerConfig{}, c.deliveries...)
			span := got.await(t, len(c.deliveries), "process orders")[len(c.deliveries)-1]
			if value(span, "pulse.inbox.outcome") != c.outcome || value(span, "error.type") != c.errorType || value(span, "pulse.inbox.attempt") != c.attempt {
				t.Errorf("status %+v\n%s", span.Status, attributesText(span.Attributes))
			}
			for _, kv := range span.Attributes {
				if text := kv.Value.String(); text == "" || !utf8.ValidString(text) {
					t.Errorf("%s is %q", kv.Key, text)
				}
			}
		})
	}
}

type odd struct{}

func (*odd) Error() string { return "odd" }

// TestProcessGoesOn tests that a span goes on through what costs no attempt, and tells
// of it.
func TestProcessGoesOn(t *testing.T) {
	for event, c := range map[string]struct {
		err       error
		errorType string
	}{
		"held":  {inbox.Unavailable(errors.New("away")), "unavailable"},
		"rerun": {deadlock{}, "40P01"},
	} {
		t.Run(event, func(t *testing.T) {
			calls := 0
			got := consume(t, func(context.Context, inbox.Tx, inbox.Message) error {
				if calls++; calls == 1 {
					return c.err
				}
				return nil
			}, inbox.ConsumerConfig{}, delivery(0))
			span := got.await(t, 1, "process orders")[0]
			if len(span.Events) != 1 || span.Events[0].Name != event || attributesText(span.Events[0].Attributes) != "error.type="+c.errorType ||
				value(span, "pulse.inbox.outcome") != "applied" || value(span, "error.type") != "" {
				t.Errorf("events %+v\n%s", span.Events, attributesText(span.Attributes))
			}
		})
	}
}

type deadlock struct{}

func (deadlock) Error() string    { return "deadlock detected" }
func (deadlock) SQLState() string { return "40P01" }

// TestProcessRequeue tests the span of a message that a stop has interrupted.
func TestProcessRequeue(t *testing.T) {
	began := make(chan struct{})
	c := consume(t, func(ctx context.Context, _ inbox.Tx, _ inbox.Message) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}, inbox.ConsumerConfig{ShutdownTimeout: time.Millisecond}, delivery(0))
	<-began
	c.stop()
	span := c.await(t, 1, "process orders")[0]
	settled := c.await(t, 1, "settle orders")[0]
	if value(span, "pulse.inbox.outcome") != "requeue" || value(settled, "pulse.inbox.settle.requeued") != "1" || settled.Parent.SpanID() != span.SpanContext.SpanID() {
		t.Errorf("%s\n%s", attributesText(span.Attributes), attributesText(settled.Attributes))
	}
}

// TestProcessFunc tests a handler that owns its transaction.
func TestProcessFunc(t *testing.T) {
	in, db := newInbox(t)
	var handler trace.SpanContext
	c := start(t, inbox.ConsumerConfig{Inbox: in}, func(q queue, cfg inbox.ConsumerConfig) (*inbox.Consumer, error) {
		return inbox.NewConsumerFunc(q, func(ctx context.Context, msg inbox.Message) error {
			handler = trace.SpanContextFromContext(ctx)
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := in.Claim(ctx, tx, msg); err != nil {
				return err
			}
			return tx.Commit()
		}, cfg)
	}, delivery(0))
	span := c.await(t, 1, "process orders")[0]
	if !handler.Equal(span.SpanContext) || value(span, "pulse.inbox.outcome") != "applied" {
		t.Errorf("the handler works in %v\n%s", handler.SpanID(), attributesText(span.Attributes))
	}
}
