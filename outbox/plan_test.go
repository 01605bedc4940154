package outbox

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// explain returns the plan PostgreSQL makes for a query with these arguments.
func explain(t *testing.T, db *sqlx.DB, query string, args ...any) string {
	t.Helper()
	var lines []string
	if err := db.Select(&lines, `EXPLAIN (COSTS OFF) `+query, args...); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return strings.Join(lines, "\n")
}

// The queries that run often, on a table that has a history: each finds its
// rows by the index its file names, and none reads the table.
func TestQueryPlans(t *testing.T) {
	_, db := postgres.newOutbox(t)
	fill(t, db, 40_000, "published")
	fill(t, db, 300, "pending")
	fill(t, db, 30, "dead")
	fill(t, db, 30, "discarded")
	db.MustExec(`UPDATE outbox_messages SET attempts = 1 WHERE status = 'pending' AND seq % 10 = 0`)
	db.MustExec(`VACUUM ANALYZE outbox_messages`)

	list := func(q ListQuery) (string, []any) { return listQuery(db, q, uuid.NullUUID{}) }
	for name, c := range map[string]struct {
		query func() (string, []any)
		index string
	}{
		"newest":     {func() (string, []any) { return list(ListQuery{}) }, "Index Scan Backward using outbox_messages_pkey"},
		"pending":    {func() (string, []any) { return list(ListQuery{Statuses: []Status{Pending}, Topic: "no"}) }, "outbox_messages_pending"},
		"dead":       {func() (string, []any) { return list(ListQuery{Statuses: []Status{Dead}}) }, "outbox_messages_dead"},
		"discarded":  {func() (string, []any) { return list(ListQuery{Statuses: []Status{Discarded}}) }, "outbox_messages_set_aside"},
		"unsettled":  {func() (string, []any) { return list(ListQuery{Statuses: []Status{Dead, Pending}, Topic: "no"}) }, "BitmapOr"},
		"retrying":   {func() (string, []any) { return list(ListQuery{Retrying: true, Topic: "no"}) }, "outbox_messages_due"},
		"blocked by": {func() (string, []any) { return list(ListQuery{}) }, "using outbox_messages_blocking on outbox_messages head"},
		"recent": {func() (string, []any) {
			return list(ListQuery{Since: time.Now().Add(-time.Minute), Topic: "no"})
		}, "outbox_messages_created"},
		"get": {func() (string, []any) { return listQuery(db, ListQuery{}, uuid.NullUUID{Valid: true}) }, "outbox_messages_id_key"},
		"purge": {func() (string, []any) {
			return queryOf(db, "purge"), []any{0, 100, time.Hour.Microseconds()}
		}, "outbox_messages_pkey"},
		"retry": {func() (string, []any) { return queryOf(db, "retry"), []any{"[]"} }, "outbox_messages_id_key"},
		"stats": {func() (string, []any) { return queryOf(db, "stats"), []any{100} }, "outbox_messages_pending"},
	} {
		t.Run(name, func(t *testing.T) {
			query, args := c.query()
			plan := explain(t, db, query, args...)
			if !strings.Contains(plan, c.index) {
				t.Errorf("no %q in the plan:\n%s", c.index, plan)
			}
			if strings.Contains(tableStart.ReplaceAllString(plan, ""), "Seq Scan on outbox_messages") {
				t.Errorf("the table is read:\n%s", plan)
			}
		})
	}
}

// tableStart is the part of the plan of stats.sql that reads the table up to a bound, on purpose.
var tableStart = regexp.MustCompile(`(?s)CTE table_start.*?CTE firsts`)

// A row due at once is in the two full indexes and in that of pending rows only:
// it does not pay for the index by which waiting rows are found.
func TestWaitingIndexHoldsNoNewRows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		column, bucket := d.bucketColumn()
		for i := range 50 {
			enqueue(t, ob, Message{Topic: "t", Key: fmt.Sprint(i)})
			db.MustExec(`INSERT INTO outbox_messages (topic, type, payload` + column + `) VALUES ('t', 't', ''` + bucket + `)`)
		}
		const waiting = `SELECT count(*) FROM outbox_messages WHERE status = 'pending' AND (attempts > 0 OR available_at > created_at)`
		if n := number(t, db, waiting); n != 0 {
			t.Errorf("%d of 100 rows wait; want none", n)
		}
		enqueue(t, ob, Message{Topic: "t", AvailableAt: time.Now().Add(time.Hour)})
		if n := number(t, db, waiting); n != 1 {
			t.Errorf("%d rows wait; want the delayed one", n)
		}
	})
}

// Several queries, of the relay and of List and Stats, say what blocks a message:
// they must agree.
func TestQueriesAgreeOnHeads(t *testing.T) {
	const (
		head    = `head.key = m.key AND head.seq < m.seq AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> ''`
		failed  = `status IN ('pending', 'dead') AND attempts > 0 AND key <> ''`
		heading = "outbox_messages AS head"
	)
	eachDatabase(t, func(t *testing.T, d database) {
		_, db := d.newOutbox(t)
		queries := sqldb.LoadQueries(sqlFiles, "sql", d.dialect)
		for name, text := range queries {
			text = strings.Join(strings.Fields(text), " ")
			if strings.Count(text, heading) != strings.Count(text, head) {
				t.Errorf("%s.sql looks for heads by another condition than %s", name, head)
			}
		}
		for _, name := range []string{"list", "lane_read"} {
			if !strings.Contains(queries[name], heading) {
				t.Errorf("%s.sql does not look for heads", name)
			}
		}
		if !strings.Contains(queries["stats"], failed) {
			t.Errorf("stats.sql does not count by %s", failed)
		}
		definition := `SELECT pg_get_indexdef('outbox_messages_blocking'::regclass)`
		if d.dialect == sqldb.SQLite {
			definition = `SELECT sql FROM sqlite_schema WHERE name = 'outbox_messages_blocking'`
		}
		var index string
		if err := db.Get(&index, definition); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"'pending'", "'dead'", "attempts > 0", "key <> ''"} {
			if !strings.Contains(index, part) {
				t.Errorf("outbox_messages_blocking is for %s, without %s", index, part)
			}
		}
	})
}
