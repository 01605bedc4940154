package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel/trace"
)

func TestEnqueueFillsIn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		ctx := WithCausationID(WithCorrelationID(t.Context(), "corr-1"), "cause-1")
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
		}))
		bare := Message{Topic: "order.created", Headers: map[string]string{"tenant": "t1"}}
		full := NewMessage("order.created", []byte("\x00\xff"))
		full.Type, full.ContentType, full.Key = "OrderCreated", "application/octet-stream", "order-1"
		full.CorrelationID, full.CausationID = "corr-2", "cause-2"
		full.Headers = map[string]string{"traceparent": "producer's own"}
		full.OccurredAt = time.Date(2020, 2, 29, 1, 2, 3, 456789000, time.FixedZone("", 3600))
		full.AvailableAt = time.Now().Add(time.Hour).Truncate(time.Microsecond)
		before, beforeHeaders := bare, maps.Clone(bare.Headers)

		commit(t, ob, func(tx *sqlx.Tx) {
			if err := ob.Enqueue(ctx, tx, bare, full); err != nil {
				t.Fatal(err)
			}
		})
		if bare.ID != before.ID || bare.Type != "" || !maps.Equal(bare.Headers, beforeHeaders) {
			t.Errorf("the caller's message was changed: %+v", bare)
		}
		page, err := ob.List(t.Context(), ListQuery{OldestFirst: true})
		if err != nil || len(page.Records) != 2 {
			t.Fatalf("%d records, %v", len(page.Records), err)
		}

		got := page.Records[0]
		if got.ID.Version() != 7 || got.Type != "order.created" || got.ContentType != "application/json" ||
			got.CorrelationID != "corr-1" || got.CausationID != "cause-1" || got.Payload == nil || len(got.Payload) != 0 {
			t.Errorf("defaults: %+v", got)
		}
		wantHeaders := map[string]string{"tenant": "t1", "traceparent": "00-01000000000000000000000000000000-0200000000000000-01"}
		if !maps.Equal(got.Headers, wantHeaders) {
			t.Errorf("headers %v, want %v", got.Headers, wantHeaders)
		}
		// One clock, and in this order: a row due at once is not among those that wait.
		if got.AvailableAt.After(got.CreatedAt) || got.OccurredAt.After(got.CreatedAt) || got.CreatedAt.IsZero() {
			t.Errorf("available %v, occurred %v, created %v", got.AvailableAt, got.OccurredAt, got.CreatedAt)
		}

		got = page.Records[1]
		full.Seq, full.OccurredAt, full.AvailableAt = got.Seq, full.OccurredAt.UTC(), full.AvailableAt.UTC()
		if fmt.Sprint(got.Message) != fmt.Sprint(full) {
			t.Errorf("message changed on its way:\n got %v\nwant %v", got.Message, full)
		}
		if got.Status != Pending || got.Attempts != 0 || !got.PublishedAt.IsZero() || got.LastError != "" {
			t.Errorf("state: %+v", got)
		}
	})
}

func TestEnqueueNewCorrelationID(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		enqueue(t, ob, Message{Topic: "a"}, Message{Topic: "b"})
		enqueue(t, ob, Message{Topic: "c"})
		page, err := ob.List(t.Context(), ListQuery{OldestFirst: true})
		if err != nil {
			t.Fatal(err)
		}
		a, b, c := page.Records[0].CorrelationID, page.Records[1].CorrelationID, page.Records[2].CorrelationID
		if a == "" || a != b || a == c {
			t.Errorf("correlation ids %q, %q, %q; want one for each call", a, b, c)
		}
	})
}

// What a client has sent as its correlation id must not fail the transaction.
func TestEnqueueReplacesInvalidIDs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		_, db := d.newOutbox(t)
		var log strings.Builder
		ob := outboxOf(t, db, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for _, bad := range []string{"two words", "größe-1", strings.Repeat("x", 300), "a\x00b", "tab\t", "\xff"} {
			if ValidCorrelationID(bad) {
				t.Errorf("%q is valid", bad)
			}
			log.Reset()
			byContext := WithCausationID(WithCorrelationID(t.Context(), bad), bad)
			own := Message{ID: uuid.New(), Topic: "own", CorrelationID: bad, CausationID: bad}
			first, second := NewMessage("first", nil), NewMessage("second", nil)
			commit(t, ob, func(tx *sqlx.Tx) {
				if err := ob.Enqueue(byContext, tx, first, second); err != nil {
					t.Fatalf("%q in the context: %v", bad, err)
				}
				if err := ob.Enqueue(WithCausationID(t.Context(), "cause"), tx, own); err != nil {
					t.Fatalf("%q in the message: %v", bad, err)
				}
			})
			one, other, mine := record(t, ob, first), record(t, ob, second), record(t, ob, own)
			if !ValidCorrelationID(one.CorrelationID) || one.CorrelationID != other.CorrelationID || one.CausationID != "" {
				t.Errorf("%q: correlation ids %q and %q, causation id %q", bad, one.CorrelationID, other.CorrelationID, one.CausationID)
			}
			if !ValidCorrelationID(mine.CorrelationID) || mine.CausationID != "cause" {
				t.Errorf("%q: correlation id %q, causation id %q", bad, mine.CorrelationID, mine.CausationID)
			}
			if got := log.String(); strings.Count(got, "cannot travel") != 4 || !strings.Contains(got, one.CorrelationID) || len(got) > 2000 {
				t.Errorf("%q: the log says\n%s", bad, got)
			}
		}
	})
}

func TestEnqueueKeepsTheOrderOfArguments(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		msgs := make([]Message, maxInsertRows+10) // more than one INSERT carries
		for i := range msgs {
			msgs[i] = Message{ID: uuid.New(), Topic: "t", Key: "k"}
		}
		enqueue(t, ob, msgs...)
		var got []uuid.UUID
		if err := db.Select(&got, `SELECT id FROM outbox_messages ORDER BY seq`); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, msgs, func(id uuid.UUID, m Message) bool { return id == m.ID }) {
			t.Errorf("%d rows, not in the order of the arguments", len(got))
		}
	})
}

func TestInsertSize(t *testing.T) {
	half := Message{Payload: make([]byte, maxInsertBytes/2)}
	for _, c := range []struct {
		msgs []Message
		want int
	}{
		{make([]Message, 3), 3},
		{make([]Message, maxInsertRows), maxInsertRows},
		{make([]Message, maxInsertRows+1), maxInsertRows},
		{[]Message{half, {}}, 2},
		{[]Message{half, half}, 1},
		{[]Message{{Headers: map[string]string{"h": string(half.Payload)}}, half}, 1},
		{[]Message{{Payload: make([]byte, maxInsertBytes+1)}, {}}, 1},
	} {
		if got := insertSize(c.msgs); got != c.want {
			t.Errorf("%d messages: %d, want %d", len(c.msgs), got, c.want)
		}
	}
}

// execOnly is a transaction behind an interface of the caller's own.
type execOnly struct{ tx *sql.Tx }

func (e execOnly) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return e.tx.ExecContext(ctx, query, args...)
}

// ormDB stands for handles whose BeginTx has a signature of its own (GORM, bun).
type ormDB struct{ execOnly }

func (ormDB) BeginTx(context.Context, *sql.TxOptions) (ormDB, error) { return ormDB{}, nil }

func TestEnqueueNeedsTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		connx, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer connx.Close()
		tx, err := db.DB.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()

		for _, handle := range []Tx{nil, (*sql.Tx)(nil), (*sqlx.Tx)(nil), db, db.DB, conn, connx, &ormDB{}, ormDB{}, struct{ *sqlx.DB }{db}} {
			// Refused even where there is nothing to store: the defect is in the code.
			for _, msgs := range [][]Message{nil, {{Topic: "t"}}} {
				if err := ob.Enqueue(t.Context(), handle, msgs...); !errors.Is(err, ErrNoTransaction) {
					t.Errorf("%T: %v, want ErrNoTransaction", handle, err)
				}
			}
		}
		for _, handle := range []Tx{tx, &sqlx.Tx{Tx: tx}, execOnly{tx}, struct{ *sqlx.Tx }{&sqlx.Tx{Tx: tx}}} {
			if err := ob.Enqueue(t.Context(), handle, Message{Topic: "t"}); err != nil {
				t.Errorf("%T: %v", handle, err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if n, _, _ := ob.Count(t.Context(), ListQuery{}, 10); n != 4 {
			t.Errorf("%d rows, want 4", n)
		}
		if err := ob.Enqueue(t.Context(), tx, Message{Topic: "t"}); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("ended transaction: %v, want sql.ErrTxDone", err)
		}
	})
}

func TestEnqueueDuplicateID(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		m := NewMessage("t", nil)
		enqueue(t, ob, m)
		err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(t.Context(), tx, NewMessage("t", nil), m) })
		if !errors.Is(err, ErrDuplicateID) {
			t.Errorf("%v, want ErrDuplicateID", err)
		}
		if n, _, _ := ob.Count(t.Context(), ListQuery{}, 10); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		// Another table's unique key is not the outbox's.
		err = inTx(t, ob, func(tx *sqlx.Tx) error {
			tx.MustExec(`CREATE UNIQUE INDEX one_topic ON outbox_messages (topic)`)
			return ob.Enqueue(t.Context(), tx, NewMessage("t", nil))
		})
		if err == nil || errors.Is(err, ErrDuplicateID) || !strings.Contains(err.Error(), "topic") {
			t.Errorf("%v, want the violation of one_topic", err)
		}
	})
}

func TestEnqueueEndsWithItsContext(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, NewMessage("t", nil)) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
}
