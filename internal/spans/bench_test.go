package spans_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/outbox"
)

// nowhere is an exporter that drops spans: what is measured is how they are made.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// eachProvider compares a program without an SDK with one that samples all traces, or
// one in ten.
func eachProvider(b *testing.B, bench func(b *testing.B, provider trace.TracerProvider)) {
	b.Run("none", func(b *testing.B) { bench(b, noop.NewTracerProvider()) })
	for _, ratio := range []float64{0.1, 1} {
		b.Run(fmt.Sprintf("sampled=%v", ratio), func(b *testing.B) {
			sampler := sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))
			provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}), sdktrace.WithSampler(sampler))
			defer provider.Shutdown(context.Background())
			bench(b, provider)
		})
	}
}

func BenchmarkEnqueue(b *testing.B) {
	eachProvider(b, func(b *testing.B, provider trace.TracerProvider) {
		ob, db := newOutbox(b, outbox.WithTracerProvider(provider))
		tx := db.MustBegin()
		defer tx.Rollback()
		b.ReportAllocs()
		for b.Loop() {
			if err := ob.Enqueue(b.Context(), tx, outbox.NewMessage("order.created", []byte("{}"))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkConsume applies messages, alone and in batches. An operation is a message.
func BenchmarkConsume(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			eachProvider(b, func(b *testing.B, provider trace.TracerProvider) {
				in, _ := newInbox(b)
				q := inboxtest.NewQueue()
				for i := range b.N {
					d := delivery(i)
					d.Message.Headers = map[string]string{"traceparent": fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)}
					q.Deliver(d)
				}
				consumer, err := inbox.NewConsumer(in, queue{q}, nothing, inbox.ConsumerConfig{
					TracerProvider: provider, Workers: 1, BatchSize: size, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				b.ReportAllocs()
				b.ResetTimer()
				go func() { done <- consumer.Run(ctx) }()
				q.WaitUntilEmpty(b)
				b.StopTimer()
				cancel()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
