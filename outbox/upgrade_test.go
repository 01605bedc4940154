package outbox

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// insertOfVersion1 is what Enqueue sent while the schema was at version 1. It
// stays as it is: programs of that time may run on every later schema.
var insertOfVersion1 = map[sqldb.Dialect]string{
	sqldb.PostgreSQL: `INSERT INTO outbox_messages
		(id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at)
		VALUES ($1::uuid, $2, $3, $4, $5, $6, $7::jsonb, $8, $9,
			coalesce($10::timestamptz, clock_timestamp()), coalesce($11::timestamptz, statement_timestamp()))`,
	sqldb.SQLite: `INSERT INTO outbox_messages
		(id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at, bucket)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,
			coalesce(?, strftime('%Y-%m-%d %H:%M:%f000', 'now')), coalesce(?, strftime('%Y-%m-%d %H:%M:%f000', 'now')), ?)`,
}

// Rows that were written under a former version of the schema are published
// after an upgrade, and so are those that a program of that version writes afterwards; the
// order of each key holds across the two.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		steps, err := Schema(Dialect(d.dialect))
		if err != nil {
			t.Fatal(err)
		}
		for version := 1; version <= len(steps); version++ {
			t.Run(fmt.Sprint("from version ", version), func(t *testing.T) {
				ob, db := d.unmigrated(t)
				for _, step := range steps[:version] {
					db.MustExec(step.SQL)
				}
				const keys = 5
				var want []string
				write := func(n int) (ids []uuid.UUID) {
					t.Helper()
					for i := range n {
						id, key := uuid.Must(uuid.NewV7()), fmt.Sprint("order-", i%keys)
						topic := fmt.Sprintf("%s.%d", key, len(want))
						args := []any{id.String(), topic, "OrderChanged", key, []byte(`{}`), "application/json", `{"tenant":"acme"}`, "correlation-1", "", nil, nil}
						if d.dialect == sqldb.SQLite {
							args = append(args, bucketOf(key, id))
						}
						db.MustExec(insertOfVersion1[d.dialect], args...)
						want, ids = append(want, topic), append(ids, id)
					}
					return ids
				}
				ids := write(20)
				// One was published by then, one is dead and holds its key, which is released later.
				db.MustExec(db.Rebind(`UPDATE outbox_messages SET status = 'published', published_at = created_at WHERE id = ?`), ids[0].String())
				db.MustExec(db.Rebind(`UPDATE outbox_messages SET status = 'dead', attempts = 3, last_error = 'too large' WHERE id = ?`), ids[1].String())

				if version < len(steps) {
					if err := ob.CheckSchema(t.Context()); err == nil {
						t.Errorf("version %d of %d will do", version, len(steps))
					}
				}
				if applied, err := ob.Migrate(t.Context()); err != nil || len(applied) != len(steps)-version {
					t.Fatalf("%d steps applied, %v; want %d", len(applied), err, len(steps)-version)
				}
				write(20)
				enqueue(t, ob, Message{Topic: fmt.Sprintf("order-0.%d", len(want)), Key: "order-0"})
				want = append(want, fmt.Sprintf("order-0.%d", len(want)))

				b := &broker{}
				start(t, newRelay(t, ob, b, eager()))
				eventually(t, "what is not held back to be published", func() bool { return b.count() == len(want)-1-8 })
				if _, err := ob.Retry(t.Context(), ids[1]); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the rest to be published", func() bool { return b.count() == len(want)-1 })
				b.mu.Lock()
				defer b.mu.Unlock()
				last := make(map[string]int)
				for _, m := range b.taken {
					var n int
					if _, err := fmt.Sscanf(m.Topic, m.Key+".%d", &n); err != nil {
						t.Fatal(err)
					}
					if before, ok := last[m.Key]; ok && n < before {
						t.Errorf("%s: %d after %d", m.Key, n, before)
					}
					last[m.Key] = n
				}
			})
		}
	})
}
