package outboxtest_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

// probe is a test whose failure is recorded.
type probe struct {
	testing.TB
	failure string
}

func (p *probe) Helper() {}
func (p *probe) Fatalf(format string, args ...any) {
	p.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failureOf returns what check fails with; empty: it passes.
func failureOf(t *testing.T, check func(t testing.TB)) string {
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(p)
	}()
	<-done
	return p.failure
}

func TestRequireEnqueued(t *testing.T) {
	t.Run("postgres", func(t *testing.T) { requireEnqueued(t, sqlx.MustOpen("pgx", testenv.Postgres(t))) })
	t.Run("sqlite", func(t *testing.T) {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "outbox.db"))
		if err != nil {
			t.Fatal(err)
		}
		requireEnqueued(t, db)
	})
}

func requireEnqueued(t *testing.T, db *sqlx.DB) {
	defer db.Close()
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	empty := failureOf(t, func(t testing.TB) { outboxtest.RequireNothingEnqueued(t, db, outboxtest.Match{}) })
	if !strings.Contains(empty, "read the outbox") {
		t.Errorf("without a schema: %q", empty)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx := db.MustBegin()
	defer tx.Rollback()
	created := outbox.NewMessage("order.created", []byte(`{"amount":77.5}`))
	created.Type, created.Key, created.CorrelationID, created.CausationID = "OrderCreated", "order-1", "corr-1", "cause-1"
	created.Headers = map[string]string{"tenant": "acme", "region": ""}
	paid := outbox.NewMessage("order.paid", nil)
	paid.Key = "order-1"
	if err := ob.Enqueue(t.Context(), tx, created, paid); err != nil {
		t.Fatal(err)
	}

	for name, m := range map[string]outboxtest.Match{
		"id":      {ID: created.ID},
		"topic":   {Topic: "order.created"},
		"type":    {Type: "OrderCreated"},
		"ids":     {CorrelationID: "corr-1", CausationID: "cause-1"},
		"payload": {PayloadContains: "77.5"},
		"headers": {Headers: map[string]string{"tenant": "acme", "region": ""}},
		"all": {ID: created.ID, Topic: "order.created", Type: "OrderCreated", Key: "order-1", CorrelationID: "corr-1",
			CausationID: "cause-1", PayloadContains: "amount", Headers: map[string]string{"tenant": "acme"}},
	} {
		got := outboxtest.RequireEnqueued(t, tx, m)
		if got.ID != created.ID || string(got.Payload) != string(created.Payload) || got.Headers["tenant"] != "acme" ||
			got.Seq == 0 || got.OccurredAt.IsZero() || got.ContentType != "application/json" {
			t.Errorf("%s: %+v", name, got)
		}
		if failure := failureOf(t, func(t testing.TB) { outboxtest.RequireNothingEnqueued(t, tx, m) }); !strings.Contains(failure, created.ID.String()) {
			t.Errorf("%s: %q, want a failure with the id", name, failure)
		}
	}

	for name, m := range map[string]outboxtest.Match{
		"topic":        {Topic: "order"},
		"both":         {Topic: "order.paid", Type: "OrderCreated"},
		"payload":      {PayloadContains: "78"},
		"header":       {Headers: map[string]string{"tenant": "other"}},
		"empty header": {Headers: map[string]string{"absent": ""}},
	} {
		outboxtest.RequireNothingEnqueued(t, tx, m)
		failure := failureOf(t, func(t testing.TB) { outboxtest.RequireEnqueued(t, tx, m) })
		if !strings.Contains(failure, "no message with "+m.String()) || !strings.Contains(failure, `topic "order.paid"`) {
			t.Errorf("%s: %q, want what was looked for and what there is", name, failure)
		}
	}
	failure := failureOf(t, func(t testing.TB) { outboxtest.RequireEnqueued(t, tx, outboxtest.Match{Key: "order-1"}) })
	if !strings.Contains(failure, "more than one message") {
		t.Errorf("two of them: %q", failure)
	}

	// Not committed: nobody else sees it.
	outboxtest.RequireNothingEnqueued(t, db, outboxtest.Match{})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	outboxtest.RequireEnqueued(t, db, outboxtest.Match{ID: paid.ID})
}
