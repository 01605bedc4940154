package inbox

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// fillForPlans makes a table of some size. The rows are a second apart.
func fillForPlans(t *testing.T, url string, rows int) (*Inbox, *sqlx.DB) {
	t.Helper()
	db, d, err := database.Open(url, "plans")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // SET and PREPARE are the connection's
	in, err := New(db, "notifications", WithDialect(Dialect(d)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	earlier := map[sqldb.Dialect]string{
		sqldb.PostgreSQL: `now() - make_interval(secs => n)`,
		sqldb.SQLite:     `strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%d seconds', n))`,
	}[d]
	mustRun(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
		WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < `+strconv.Itoa(rows)+`)
		SELECT 'notifications', 'event-' || CAST(n AS text), $1, `+earlier+` FROM numbers`, make([]byte, 32))
	mustRun(t, db, `ANALYZE processed_events`)
	return in, db
}

func queryText(t *testing.T, in *Inbox, db *sqlx.DB, name string) string {
	t.Helper()
	query, err := in.store.Query(t.Context(), db, name)
	if err != nil {
		t.Fatal(err)
	}
	return query
}

func mustRun(t *testing.T, db *sqlx.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestQueryPlans keeps the hot queries on their indexes, with the plan that a
// prepared statement settles on.
func TestQueryPlans(t *testing.T) {
	in, db := fillForPlans(t, testenv.Postgres(t), 100_000)
	mustRun(t, db, `SET plan_cache_mode = force_generic_plan`)
	for _, c := range []struct{ query, types, args, index string }{
		{"verify", "text, text", `'notifications', '["a","b"]'`, "Index Only Scan using processed_events_pkey"},
		{"oldest", "text", `'notifications'`, "Index Only Scan using processed_events_processed_at"},
		{"applied", "text, text", `'notifications', '["a","b"]'`, "Index Scan using processed_events_pkey"},
		{"get", "text, text", `'notifications', 'a'`, "Index Scan using processed_events_pkey"},
		{"sightings", "text", `'a'`, "Index Scan using processed_events_pkey"},
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
			mustRun(t, db, prepare+" AS "+queryText(t, in, db, c.query))
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

func TestQueryPlansSQLite(t *testing.T) {
	in, db := fillForPlans(t, sqlite.URL(filepath.Join(t.TempDir(), "inbox.db")), 5000)
	const byKey, byTime = "USING PRIMARY KEY (consumer=? AND event_id=?)", "processed_events_processed_at (consumer=? AND processed_at"
	for _, c := range []struct {
		query string
		args  []any
		steps []string // parts of the plan's lines that read the table, in order
	}{
		{"applied", []any{"notifications", `["a","b"]`}, []string{byKey}},
		{"get", []any{"notifications", "a"}, []string{byKey}},
		{"purge", []any{"notifications", 3600, 100}, []string{byKey, byTime + "<?)"}},
		{"list", []any{"notifications", "", "", "", nil, nil, nil, "", 51}, []string{byTime + ">? AND processed_at<?)"}},
		{"consumers", nil, []string{"INDEX processed_events", "(consumer>?)"}},
		{"stats", []any{"notifications", 100}, []string{"INDEX processed_events_processed_at (consumer=?)",
			"INDEX processed_events_processed_at (consumer=?)", "INDEX processed_events_processed_at (consumer=?)"}},
	} {
		t.Run(c.query, func(t *testing.T) {
			var plan []struct {
				ID, Parent, NotUsed int
				Detail              string
			}
			if err := db.SelectContext(t.Context(), &plan, "EXPLAIN QUERY PLAN "+queryText(t, in, db, c.query), c.args...); err != nil {
				t.Fatal(err)
			}
			var reads, all []string
			for _, line := range plan {
				all = append(all, line.Detail)
				if strings.Contains(line.Detail, "processed_events") || strings.Contains(line.Detail, "SEARCH p ") {
					reads = append(reads, line.Detail)
				}
				if strings.Contains(line.Detail, "TEMP B-TREE") && c.query != "consumers" { // it sorts their names
					t.Errorf("the plan sorts: %s", line.Detail)
				}
			}
			if len(reads) != len(c.steps) {
				t.Fatalf("the plan has %d reads, want %q:\n%s", len(reads), c.steps, strings.Join(all, "\n"))
			}
			for i, want := range c.steps {
				if !strings.Contains(reads[i], want) {
					t.Errorf("step %d: %s, want %s", i+1, reads[i], want)
				}
			}
		})
	}
}
