package inbox

import (
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestPlans keeps the hot queries on their indexes in a table of some size,
// with the plan that a prepared statement settles on.
func TestPlans(t *testing.T) {
	db, err := sqlx.Open("pgx", testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // SET and PREPARE are the connection's
	in, err := New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
		 SELECT 'notifications', md5(n::text), sha256(''), now() - make_interval(secs => n) FROM generate_series(1, 100000) AS n`,
		`ANALYZE processed_events`,
		`SET plan_cache_mode = force_generic_plan`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ query, types, args, index string }{
		{"hashes", "text, text", `'notifications', '["a","b"]'`, "Index Scan using processed_events_pkey"},
		{"get", "text, text", `'notifications', 'a'`, "Index Scan using processed_events_pkey"},
		{"purge", "text, float8, int", `'notifications', 3600, 100`, "Index Scan using processed_events_processed_at"},
		{"list", "text, text, text, text, timestamptz, timestamptz, timestamptz, text, int",
			`'notifications', '', '', '', NULL, NULL, NULL, '', 51`, "Index Scan Backward using processed_events_processed_at"},
		{"consumers", "", "", "Index Only Scan using processed_events_"},
	} {
		t.Run(c.query, func(t *testing.T) {
			prepare, execute := "PREPARE "+c.query, "EXPLAIN EXECUTE "+c.query
			if c.types != "" {
				prepare, execute = prepare+" ("+c.types+")", execute+" ("+c.args+")"
			}
			if _, err := db.ExecContext(t.Context(), prepare+" AS "+in.queries.Get(c.query)); err != nil {
				t.Fatal(err)
			}
			var lines []string
			if err := db.SelectContext(t.Context(), &lines, execute); err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(lines, "\n")
			if !strings.Contains(plan, c.index) || strings.Contains(plan, "Seq Scan on processed_events") {
				t.Errorf("want %q and no sequential scan:\n%s", c.index, plan)
			}
		})
	}
}
