package outbox

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Each driver, and each way pgx has of sending a query (some are for poolers
// that keep no prepared statements), reads and writes the same.
func TestOutboxDrivers(t *testing.T) {
	for _, c := range []struct{ driver, parameter, value string }{
		{"pgx", "", ""},
		{"pgx", "default_query_exec_mode", "simple_protocol"},
		{"pgx", "default_query_exec_mode", "exec"},
		{"pgx", "default_query_exec_mode", "cache_describe"},
		{"pgx", "default_query_exec_mode", "describe_exec"},
		{"postgres", "sslmode", "disable"},
		{"postgres", "binary_parameters", "yes"},
	} {
		t.Run(c.driver+" "+c.value, func(t *testing.T) {
			u, err := url.Parse(testenv.Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			if c.driver == "postgres" {
				q.Set("sslmode", "disable")
			}
			if c.parameter != "" {
				q.Set(c.parameter, c.value)
			}
			u.RawQuery = q.Encode()
			db, err := sqlx.Open(c.driver, u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			driverRound(t, db)
		})
	}
}

// The driver of package sqlite; its documentation says what other drivers need.
func TestOutboxSQLiteDriver(t *testing.T) { driverRound(t, file.connect(t, file.create(t))) }

// driverRound goes through everything that sends or reads a value.
func driverRound(t *testing.T, db *sqlx.DB) {
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	err = inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, Message{Topic: "t"}) })
	if !errors.Is(err, ErrSchema) {
		t.Errorf("without schema: %v, want ErrSchema", err)
	}
	if _, err := ob.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	full := Message{
		ID: uuid.New(), Topic: "t", Type: "Größe", Key: `k'"\?$1`, Payload: []byte("\x00\xff\\x00'"), ContentType: "a/b",
		Headers: map[string]string{"h": `{"a": "\u0041"} ☃`}, CorrelationID: "c", CausationID: "d",
		OccurredAt:  time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.FixedZone("", -5*3600)),
		AvailableAt: time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	bare := Message{ID: uuid.New(), Topic: "t", Key: full.Key}
	commit(t, ob, func(tx *sqlx.Tx) {
		if err := ob.Enqueue(ctx, tx, full, bare); err != nil {
			t.Fatal(err)
		}
	})
	r := get(t, ob, full.ID)
	full.Seq, full.OccurredAt = r.Seq, full.OccurredAt.UTC()
	if fmt.Sprint(r.Message) != fmt.Sprint(full) {
		t.Errorf("message changed on its way:\n got %v\nwant %v", r.Message, full)
	}
	if r := get(t, ob, bare.ID); r.OccurredAt.IsZero() || r.AvailableAt.After(r.CreatedAt) || len(r.Payload) != 0 || r.Headers != nil {
		t.Errorf("defaults: %+v", r)
	}
	err = inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, full) })
	if !errors.Is(err, ErrDuplicateID) {
		t.Errorf("same id: %v, want ErrDuplicateID", err)
	}

	db.MustExec(`UPDATE outbox_messages SET attempts = 1, last_error = '100%' WHERE id = $1`, full.ID)
	if r := get(t, ob, bare.ID); r.BlockedBy != full.ID {
		t.Errorf("blocked by %v, want %v", r.BlockedBy, full.ID)
	}
	page, err := ob.List(ctx, ListQuery{Statuses: []Status{Pending, Dead}, Retrying: true, Topic: "t", Type: full.Type, Key: full.Key,
		CorrelationID: "c", ErrorContains: "0%", Since: r.CreatedAt, Until: time.Now().Add(time.Hour), WithoutPayload: true})
	if err != nil || len(page.Records) != 1 || page.Records[0].Payload != nil {
		t.Errorf("list: %+v, %v", page, err)
	}
	if n, _, err := ob.Count(ctx, ListQuery{Key: full.Key}, 10); n != 2 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
	if n, err := ob.Retry(ctx, full.ID, bare.ID); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	if n, err := ob.Discard(ctx, "it's over", full.ID); n != 1 || err != nil {
		t.Errorf("discard: %d, %v", n, err)
	}
	if s, err := ob.Stats(ctx); err != nil || s.Pending.N != 1 || s.Discarded.N != 1 || s.OldestPending.IsZero() {
		t.Errorf("stats: %+v, %v", s, err)
	}
	if n, err := ob.Purge(ctx, 0); n != 1 || err != nil {
		t.Errorf("purge: %d, %v", n, err)
	}
	if _, err := ob.Get(ctx, full.ID); !errors.Is(err, ErrNotFound) || errors.Is(err, sql.ErrNoRows) {
		t.Errorf("get after purge: %v", err)
	}
	if steps, err := ob.Migrations(ctx); err != nil || steps[0].AppliedAt.IsZero() {
		t.Errorf("migrations: %+v, %v", steps, err)
	}
}
