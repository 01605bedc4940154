package outbox

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// readsTable finds the steps of a plan that read all messages.
var readsTable = regexp.MustCompile(`(?m)^SCAN (outbox_messages|m|head|first|next|last|earlier)$`)

// The queries that run often, as SQLite plans them, which it does without a
// look at the table: each finds its rows by the index its file names.
func TestQueryPlansSQLite(t *testing.T) {
	_, db := file.newOutbox(t)
	list := func(q ListQuery) (string, []any) { return listQuery(db, q, uuid.NullUUID{}) }
	get := func() (string, []any) { return listQuery(db, ListQuery{}, uuid.NullUUID{Valid: true}) }
	named := func(name string, args int) (string, []any) { return queryOf(db, name), make([]any, args) }
	type planned func() (string, []any)
	for name, c := range map[string]struct {
		query planned
		steps []string
	}{
		"pending": {func() (string, []any) { return list(ListQuery{Statuses: []Status{Pending}, Topic: "no"}) },
			[]string{"SEARCH outbox_messages USING INDEX outbox_messages_open (status=? AND seq>? AND seq<?)"}},
		"unsettled": {func() (string, []any) { return list(ListQuery{Statuses: []Status{Dead, Pending, Discarded}}) },
			[]string{"SEARCH outbox_messages USING COVERING INDEX outbox_messages_open (status=? AND seq>? AND seq<?)"}},
		"retrying": {func() (string, []any) { return list(ListQuery{Retrying: true}) },
			[]string{"SEARCH outbox_messages USING COVERING INDEX outbox_messages_open (status=? AND seq>? AND seq<?)"}},
		"recent": {func() (string, []any) { return list(ListQuery{Since: time.Now().Add(-time.Minute), Topic: "no"}) },
			[]string{"SEARCH outbox_messages USING INDEX outbox_messages_created (created_at>? AND created_at<?)"}},
		"blocked by": {func() (string, []any) { return list(ListQuery{Statuses: []Status{Pending}}) },
			[]string{"SEARCH head USING INDEX outbox_messages_blocking (key=? AND seq<?)"}},
		"get": {get, []string{"SEARCH outbox_messages USING COVERING INDEX sqlite_autoindex_outbox_messages_1 (id=?)"}},
		"retry": {func() (string, []any) { return named("retry", 1) },
			[]string{"SEARCH outbox_messages USING INDEX sqlite_autoindex_outbox_messages_1 (id=?)"}},
		"discard": {func() (string, []any) { return named("discard", 2) },
			[]string{"SEARCH outbox_messages USING INDEX sqlite_autoindex_outbox_messages_1 (id=?)"}},
		"purge_chunk": {func() (string, []any) { return named("purge_chunk", 3) },
			[]string{"SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid>?)"}},
		"purge": {func() (string, []any) { return named("purge", 3) },
			[]string{"SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}},
		"stats": {func() (string, []any) { return named("stats", 1) },
			[]string{"SEARCH first USING INDEX outbox_messages_pending (bucket=?)", "SCAN outbox_messages USING INDEX outbox_messages_due",
				"SCAN outbox_messages USING INDEX outbox_messages_blocking"}},
		"lane_read": {func() (string, []any) { return named("lane_read", 9) },
			[]string{"SEARCH m USING INDEX outbox_messages_pending (bucket=? AND seq>?)", "SEARCH next USING INTEGER PRIMARY KEY (rowid=?)",
				"SEARCH head USING INDEX outbox_messages_blocking (key=? AND seq<?)", "SCAN named"}},
		"lane_fresh": {func() (string, []any) { return named("lane_fresh", 3) },
			[]string{"SEARCH m USING INDEX outbox_messages_pending (bucket=? AND seq>?)", "SEARCH last USING INTEGER PRIMARY KEY (rowid=?)",
				"SEARCH head USING INDEX outbox_messages_blocking (key=? AND seq<?)",
				"SEARCH earlier USING INDEX outbox_messages_pending (bucket=? AND seq>? AND seq<?)"}},
		"mark_published": {func() (string, []any) { return named("mark_published", 3) },
			[]string{"SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid=?)"}},
		"mark_failed": {func() (string, []any) { return named("mark_failed", 2) }, []string{"SCAN f", "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)"}},
		"delete_published": {func() (string, []any) { return named("delete_published", 3) },
			[]string{"SEARCH outbox_messages USING INTEGER PRIMARY KEY (rowid=?)"}},
		"sweep_due": {func() (string, []any) { return named("sweep_due", 4) },
			[]string{"SEARCH m USING INDEX outbox_messages_due (available_at>? AND available_at<?)"}},
		"sweep_page": {func() (string, []any) { return named("sweep_page", 2) },
			[]string{"SEARCH m USING INDEX outbox_messages_pending (bucket=? AND seq>? AND seq<?)"}},
		"drain_left": {func() (string, []any) { return named("drain_left", 3) },
			[]string{"SCAN m USING INDEX outbox_messages_pending", "SEARCH head USING INDEX outbox_messages_blocking (key=? AND seq<?)"}},
		"oldest": {func() (string, []any) { return named("oldest", 0) },
			[]string{"SEARCH first USING INDEX outbox_messages_pending (bucket=?)"}},
	} {
		t.Run(name, func(t *testing.T) {
			query, args := c.query()
			var steps []struct {
				ID      int    `db:"id"`
				Parent  int    `db:"parent"`
				NotUsed int    `db:"notused"`
				Detail  string `db:"detail"`
			}
			if err := db.Select(&steps, `EXPLAIN QUERY PLAN `+query, args...); err != nil {
				t.Fatalf("%v\n%s", err, query)
			}
			var details []string
			for _, s := range steps {
				details = append(details, s.Detail)
			}
			plan := strings.ReplaceAll(strings.Join(details, "\n"), "main.", "")
			for _, want := range c.steps {
				if !strings.Contains(plan, want) {
					t.Errorf("no %q in the plan:\n%s", want, plan)
				}
			}
			if readsTable.MatchString(plan) {
				t.Errorf("the table is read:\n%s", plan)
			}
		})
	}
}
