package spans_test

import (
	"context"
	"crypto/md5"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
)

// newOutbox returns an empty outbox in a file. What databases differ in does not matter
// to spans.
func newOutbox(t testing.TB, opts ...outbox.Option) (*outbox.Outbox, *sqlx.DB) {
	t.Helper()
	db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), "outbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ob, err := outbox.New(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, db
}

// enqueue stores msgs and commits, if that succeeds.
func enqueue(ctx context.Context, t *testing.T, ob *outbox.Outbox, db *sqlx.DB, msgs ...outbox.Message) error {
	t.Helper()
	tx := db.MustBegin()
	defer tx.Rollback()
	if err := ob.Enqueue(ctx, tx, msgs...); err != nil {
		return err
	}
	return tx.Commit()
}

// carried returns the traceparent of every row, oldest first.
func carried(t *testing.T, ob *outbox.Outbox) (parents []string) {
	t.Helper()
	page, err := ob.List(t.Context(), outbox.ListQuery{OldestFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Records {
		parents = append(parents, r.Headers["traceparent"])
	}
	return parents
}

// traceparent is how a span is propagated.
func traceparent(s trace.SpanContext) string {
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), s), headers)
	return headers["traceparent"]
}

// messages returns n messages of these topics, in turn. All are in one bucket, which a
// relay reads at once.
func messages(n int, topics ...string) []outbox.Message {
	var msgs []outbox.Message
	for len(msgs) < n {
		msg := outbox.NewMessage(topics[len(msgs)%len(topics)], []byte("{}"))
		if md5.Sum([]byte(msg.ID.String()))[0]%64 == 0 {
			msgs = append(msgs, msg)
		}
	}
	return msgs
}

func TestCreate(t *testing.T) {
	r := newRecorder()
	ob, db := newOutbox(t, outbox.WithTracerProvider(r))
	ctx, caller := r.Tracer("test").Start(outbox.WithCorrelationID(t.Context(), "corr-1"), "caller")
	msgs := messages(2, "order.created", "order.paid")
	if err := enqueue(ctx, t, ob, db, msgs...); err != nil {
		t.Fatal(err)
	}
	caller.End()

	const want = `1 caller (internal)
  2 create order.created (producer)
      messaging.destination.name=order.created
      messaging.message.conversation_id=corr-1
      messaging.message.id=FIRST
      messaging.operation.name=create
      messaging.operation.type=create
      messaging.rabbitmq.destination.routing_key=order.created
      messaging.system=rabbitmq
  3 create order.paid (producer)
      messaging.destination.name=order.paid
      messaging.message.conversation_id=corr-1
      messaging.message.id=SECOND
      messaging.operation.name=create
      messaging.operation.type=create
      messaging.rabbitmq.destination.routing_key=order.paid
      messaging.system=rabbitmq
`
	if got := r.tree(msgs[0].ID.String(), "FIRST", msgs[1].ID.String(), "SECOND"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	created := r.named("create order.created")[0]
	if at := r.sampler.at("create order.created"); at != attributesText(created.Attributes) {
		t.Errorf("samplers see\n%s", at)
	}
	if scope := created.InstrumentationScope; scope.Name != "github.com/asimalizada/pulse-events/outbox" || scope.SchemaURL == "" {
		t.Errorf("scope %+v", scope)
	}
	want2 := []string{traceparent(created.SpanContext), traceparent(r.named("create order.paid")[0].SpanContext)}
	if got := carried(t, ob); fmt.Sprint(got) != fmt.Sprint(want2) {
		t.Errorf("the rows carry %q, want their spans %q", got, want2)
	}
}

// TestCreateBound tests how many spans a call makes, and that each row carries one of
// them.
func TestCreateBound(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     []outbox.Option
		messages []outbox.Message
		spans    map[string]int
		count    string // messaging.batch.message_count
	}{
		{"as many as the default", nil, messages(outbox.DefaultCreateSpans, "a"), map[string]int{"create a": outbox.DefaultCreateSpans}, ""},
		{"more", nil, messages(outbox.DefaultCreateSpans+1, "a"), map[string]int{"create a": 1}, "21"},
		{"more, of several topics", []outbox.Option{outbox.WithCreateSpans(2)}, messages(3, "a", "b"), map[string]int{"create": 1}, "3"},
		{"one a call", []outbox.Option{outbox.WithCreateSpans(0)}, messages(2, "a"), map[string]int{"create a": 1}, "2"},
		{"one a call, of one message", []outbox.Option{outbox.WithCreateSpans(0)}, messages(1, "a"), map[string]int{"create a": 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder()
			ob, db := newOutbox(t, append(c.opts, outbox.WithTracerProvider(r))...)
			if err := enqueue(t.Context(), t, ob, db, c.messages...); err != nil {
				t.Fatal(err)
			}
			rows := make(map[string]int)
			for _, parent := range carried(t, ob) {
				rows[parent]++
			}
			total := 0
			for name, n := range c.spans {
				total += n
				spans := r.named(name)
				if len(spans) != n {
					t.Fatalf("%d spans %q, want %d", len(spans), name, n)
				}
				for _, s := range spans {
					if got := rows[traceparent(s.SpanContext)]; got != len(c.messages)/n {
						t.Errorf("%d rows carry a span, want %d", got, len(c.messages)/n)
					}
					if got := value(s, "messaging.batch.message_count"); got != c.count {
						t.Errorf("batch count %q, want %q", got, c.count)
					}
				}
			}
			if all := r.exporter.GetSpans(); len(all) != total {
				t.Errorf("%d spans, want %d", len(all), total)
			}
		})
	}
	if _, err := outbox.New(sqlx.NewDb(nil, "pgx"), outbox.WithCreateSpans(-2)); err == nil || !strings.Contains(err.Error(), "WithCreateSpans") {
		t.Errorf("WithCreateSpans(-2): %v", err)
	}
}

// TestCreateNone tests what the row carries where there is no span.
func TestCreateNone(t *testing.T) {
	r := newRecorder()
	ctx, caller := r.Tracer("test").Start(t.Context(), "caller")
	unsampled := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	own := outbox.NewMessage("order.created", nil)
	own.Headers = map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "vendor=1", "baggage": "k=v"}
	for _, c := range []struct {
		name string
		opts []outbox.Option
		msg  outbox.Message
		want func(parent string) bool
	}{
		{"switched off", []outbox.Option{outbox.WithTracerProvider(r), outbox.WithCreateSpans(outbox.NoCreateSpans)}, outbox.NewMessage("a", nil),
			func(parent string) bool { return parent == traceparent(caller.SpanContext()) }},
		{"no SDK", nil, outbox.NewMessage("a", nil),
			func(parent string) bool { return parent == traceparent(caller.SpanContext()) }},
		{"not sampled", []outbox.Option{outbox.WithTracerProvider(unsampled)}, outbox.NewMessage("a", nil),
			func(parent string) bool {
				return strings.HasPrefix(parent, "00-"+caller.SpanContext().TraceID().String()) && strings.HasSuffix(parent, "-00") &&
					!strings.Contains(parent, caller.SpanContext().SpanID().String())
			}},
		{"the producer's own", []outbox.Option{outbox.WithTracerProvider(r)}, own,
			func(parent string) bool { return parent == own.Headers["traceparent"] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ob, db := newOutbox(t, c.opts...)
			if err := enqueue(ctx, t, ob, db, c.msg); err != nil {
				t.Fatal(err)
			}
			if got := carried(t, ob); !c.want(got[0]) {
				t.Errorf("the row carries %q; the caller's span is %s", got[0], traceparent(caller.SpanContext()))
			}
			if made := r.exporter.GetSpans(); len(made) != 0 {
				t.Errorf("spans %+v", made)
			}
		})
	}
}

func TestCreateFails(t *testing.T) {
	r := newRecorder()
	ob, db := newOutbox(t, outbox.WithTracerProvider(r))
	msg := outbox.NewMessage("order.created", nil)
	if err := enqueue(t.Context(), t, ob, db, msg); err != nil {
		t.Fatal(err)
	}
	r.exporter.Reset()
	if err := enqueue(t.Context(), t, ob, db, msg); err == nil {
		t.Fatal("a message was stored twice")
	}
	failed := r.await(t, 1, "create order.created")[0]
	if got := value(failed, "error.type"); got != "duplicate-id" || failed.Status.Description == "" {
		t.Errorf("error.type %q, status %+v", got, failed.Status)
	}
}
