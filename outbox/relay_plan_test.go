package outbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

// The relay's hot statements, planned once for whatever comes, as a cached
// plan is: on an empty table, on one that is small, and on one that has a history. Each
// finds its rows by the index its file names, in every case.
func TestRelayPlans(t *testing.T) {
	_, db := postgres.newOutbox(t)
	for _, state := range []struct {
		name string
		make func()
	}{
		{"empty", func() {}},
		{"small", func() { backlog(t, db, 10, 3); db.MustExec(`VACUUM ANALYZE outbox_messages`) }},
		{"grown since the last ANALYZE", func() { backlog(t, db, 20_000, 500) }},
		{"with a history", func() {
			db.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = now() WHERE seq % 50 <> 0`)
			db.MustExec(`UPDATE outbox_messages SET attempts = 1 WHERE status = 'pending' AND seq % 7 = 0`)
			db.MustExec(`VACUUM ANALYZE outbox_messages`)
		}},
	} {
		t.Run(state.name, func(t *testing.T) {
			state.make()
			for _, c := range []struct {
				query, args string
				want        []string
			}{
				{"lane_read", `'[{"place":0,"bucket":1,"token":1,"cursor":5,"interventions":0}]', '[1,2,3]', 125, 500, '["t"]', 0, 'owner', 2000000, 1000000`,
					[]string{"Index Cond: ((bucket = mine_1.bucket) AND (seq > mine_1.cursor))", "outbox_messages_pkey", "outbox_messages_blocking"}},
				{"lane_fresh", `'[{"place":0,"bucket":1,"token":1,"cursor":5,"interventions":0}]', 8, 1000000`,
					[]string{"Index Scan Backward using outbox_messages_pending", "Index Cond: ((bucket = mine.bucket) AND (seq > mine.cursor))",
						"Index Cond: ((bucket = spans.bucket) AND (seq > spans.cursor) AND (seq < spans.last))", "outbox_messages_blocking", "outbox_messages_pkey"}},
				{"mark_published", `'[{"bucket":1,"token":1}]', '[1,2,3]', '[]'`, []string{"outbox_messages_pkey"}},
				{"mark_failed", `'[{"bucket":1,"token":1}]', '[{"seq":4,"status":"pending","delay":1,"error":"x"}]'`,
					[]string{"outbox_messages_pkey"}},
				{"delete_published", `'[{"bucket":1,"token":1}]', '[1,2,3]', '[]'`, []string{"outbox_messages_pkey"}},
				{"sweep_due", `'-infinity', 0, '[0,1,2,3]', 500`, []string{"outbox_messages_due"}},
				{"sweep_page", `'[{"bucket":1,"from":0,"to":100}]', 1000`,
					[]string{"Index Cond: ((bucket = s.bucket) AND (seq > s.\"from\") AND (seq <= s.\"to\"))"}},
				{"drain_left", `100, '2026-01-01 00:00:00+00', 1`, []string{"outbox_messages_pending", "outbox_messages_blocking"}},
				{"oldest", ``, []string{"Index Cond: (bucket = b.bucket)"}},
			} {
				plan := genericPlan(t, db, c.query, c.args)
				for _, want := range c.want {
					if !strings.Contains(plan, want) {
						t.Errorf("%s: no %s in\n%s", c.query, want, plan)
					}
				}
				for _, bad := range []string{"Seq Scan on outbox_messages", "JIT"} {
					if strings.Contains(plan, bad) {
						t.Errorf("%s: %s in\n%s", c.query, bad, plan)
					}
				}
				if slices.Contains([]string{"mark_published", "delete_published", "mark_failed"}, c.query) && strings.Contains(plan, "outbox_messages_pending") {
					t.Errorf("%s reads all that is pending:\n%s", c.query, plan)
				}
			}
		})
	}
}

// genericPlan returns the plan of a statement that knows none of its parameters.
func genericPlan(t *testing.T, db *sqlx.DB, query, args string) string {
	t.Helper()
	tx := db.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`SET LOCAL enable_seqscan = off`)
	tx.MustExec(`SET LOCAL jit = off`)
	tx.MustExec(`SET LOCAL plan_cache_mode = force_generic_plan`)
	tx.MustExec(fmt.Sprintf(`PREPARE %s AS %s`, query, queryOf(db, query)))
	var lines []string
	if args != "" {
		args = "(" + args + ")"
	}
	if err := tx.Select(&lines, fmt.Sprintf(`EXPLAIN EXECUTE %s%s`, query, args)); err != nil {
		t.Fatal(err)
	}
	tx.MustExec(`DEALLOCATE ` + query)
	return strings.Join(lines, "\n")
}
