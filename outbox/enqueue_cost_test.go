package outbox

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// statements is a tracer that remembers what is sent to the server.
type statements struct {
	mu   sync.Mutex
	sent []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, data.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// take returns what was sent since the last call.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// Enqueue adds one statement to a transaction, however many messages it gets.
func TestEnqueueSendsOneStatement(t *testing.T) {
	settings, err := pgx.ParseConfig(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	traced := &statements{}
	settings.Tracer = traced
	db := sqlx.NewDb(stdlib.OpenDB(*settings), "pgx")
	defer db.Close()
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, ob, func(tx *sqlx.Tx) { // the first one finds the tables
		if err := ob.Enqueue(t.Context(), tx, NewMessage("first", nil)); err != nil {
			t.Fatal(err)
		}
	})
	for _, n := range []int{1, 2, 100, 1000} {
		commit(t, ob, func(tx *sqlx.Tx) {
			msgs := make([]Message, n)
			for i := range msgs {
				msgs[i] = NewMessage("many", []byte(`{"n":1}`))
			}
			traced.take()
			if err := ob.Enqueue(t.Context(), tx, msgs...); err != nil {
				t.Fatal(err)
			}
			if sent := traced.take(); len(sent) != 1 {
				t.Errorf("%d messages: %d statements, want one: %q", n, len(sent), slices.Compact(sent))
			}
		})
	}
	if got := number(t, db, `SELECT count(*) FROM outbox_messages WHERE topic = 'many'`); got != 1103 {
		t.Errorf("%d rows, want 1103", got)
	}
}

// BenchmarkEnqueue measures transactions that enqueue one message, and those
// that enqueue a hundred, in turns: ten transactions of one, and one of a hundred.
func BenchmarkEnqueue(b *testing.B) {
	ob, _ := postgres.newOutbox(b)
	payload := make([]byte, 512)
	enqueue := func(n int) {
		msgs := make([]Message, n)
		for i := range msgs {
			msgs[i] = NewMessage("t", payload)
			msgs[i].Key = msgs[i].ID.String()
		}
		commit(b, ob, func(tx *sqlx.Tx) {
			if err := ob.Enqueue(b.Context(), tx, msgs...); err != nil {
				b.Fatal(err)
			}
		})
	}
	enqueue(1)
	enqueue(2)
	var single, batch []float64
	for b.Loop() {
		for range 50 {
			began := time.Now()
			for range 10 {
				enqueue(1)
			}
			single = append(single, time.Since(began).Seconds())
			began = time.Now()
			enqueue(100)
			batch = append(batch, time.Since(began).Seconds())
		}
	}
	middle := func(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
	b.ReportMetric(1e6*middle(single)/10, "us/single")
	b.ReportMetric(1e6*middle(batch), "us/batch-of-100")
	b.ReportMetric(10*middle(batch)/middle(single), "singles/batch")
	b.ReportMetric(0, "ns/op")
}
