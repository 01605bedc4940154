package sqlstore_test

import (
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
)

// What was written is read again, to the microsecond and in UTC, and sorts.
func TestInstant(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		db, dialect, err := sqlstore.Open(on.Database(t), nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		exampletest.Execute(t, db, map[string]string{
			"postgres": `CREATE TABLE times (at timestamptz)`, "sqlite": `CREATE TABLE times (at timestamp)`,
		}[string(dialect)])
		late := time.Date(2026, 3, 1, 0, 30, 0, 999_999_000, time.FixedZone("CET", 3600))
		early := late.Add(-time.Microsecond)
		for _, at := range []time.Time{late, early} {
			if _, err := db.ExecContext(t.Context(), `INSERT INTO times (at) VALUES ($1)`, sqlstore.TimeArg(dialect, at)); err != nil {
				t.Fatal(err)
			}
		}
		var got []sqlstore.Instant
		if err := db.SelectContext(t.Context(), &got, `SELECT at FROM times ORDER BY at`); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || !got[0].Equal(early) || !got[1].Equal(late) || got[0].Location() != time.UTC {
			t.Errorf("read %v", got)
		}
	})
}
