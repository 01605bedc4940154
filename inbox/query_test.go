package inbox_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// fill applies n events, the newest an hour old and each an hour older than
// the one before it; two share a time, as events of one batch may.
func fill(t *testing.T, in *inbox.Inbox, db *sqlx.DB, n int) {
	t.Helper()
	for i := range n {
		if _, err := in.Once(t.Context(), event(i), func(context.Context, inbox.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	newest := time.Now().Truncate(time.Second).Add(-time.Hour)
	for i := range n {
		mustExec(t, db, `UPDATE processed_events SET processed_at = $1 WHERE event_id = $2`,
			sqldb.Dialect(dialect(db)).Time(newest.Add(-time.Duration(i/2)*time.Hour)), event(i).ID)
	}
}

func TestListPages(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		const n = 9
		fill(t, in, db, n)
		var all []inbox.Record
		pages := 0
		for q := (inbox.ListQuery{Limit: 2}); ; pages++ {
			page, err := in.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) > 2 {
				t.Fatalf("%d records on a page of 2", len(page.Records))
			}
			all = append(all, page.Records...)
			if page.Next == "" {
				break
			}
			q.After = page.Next
		}
		if len(all) != n || pages != 4 {
			t.Fatalf("%d records on %d full pages; want %d on 4", len(all), pages, n)
		}
		seen := map[string]bool{}
		for i, r := range all {
			seen[r.EventID] = true
			if i > 0 && r.ProcessedAt.After(all[i-1].ProcessedAt) {
				t.Errorf("record %d is newer than the one before it", i)
			}
		}
		if len(seen) != n {
			t.Errorf("%d different records, want %d", len(seen), n)
		}
		r, want := all[slices.IndexFunc(all, func(r inbox.Record) bool { return r.EventID == event(3).ID })], event(3)
		if r.Topic != want.Topic || r.CorrelationID != want.CorrelationID || !r.OccurredAt.Equal(want.OccurredAt) ||
			r.PayloadHash != sha256.Sum256(want.Payload) {
			t.Errorf("record %+v of event %+v", r, want)
		}
	})
}

func TestListFilters(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		fill(t, in, db, 8)
		other, err := inbox.New(db, "invoices")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Once(t.Context(), event(100), func(context.Context, inbox.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			q    inbox.ListQuery
			want int
		}{
			{inbox.ListQuery{}, 8},
			{inbox.ListQuery{EventID: event(2).ID}, 1},
			{inbox.ListQuery{EventID: event(100).ID}, 0}, // another consumer's
			{inbox.ListQuery{Topic: "order.created"}, 8},
			{inbox.ListQuery{Topic: "order.cancelled"}, 0},
			{inbox.ListQuery{CorrelationID: "correlation-5"}, 1},
			{inbox.ListQuery{Since: time.Now().Add(-150 * time.Minute)}, 4},
			{inbox.ListQuery{Until: time.Now().Add(-150 * time.Minute)}, 4},
			{inbox.ListQuery{Since: time.Now().Add(-150 * time.Minute), CorrelationID: "correlation-5"}, 0},
		} {
			page, err := in.List(t.Context(), c.q)
			if err != nil || len(page.Records) != c.want {
				t.Errorf("%+v: %d records, %v; want %d", c.q, len(page.Records), err, c.want)
			}
		}
		_, err = in.List(t.Context(), inbox.ListQuery{Limit: 1001, After: "?"})
		if err == nil || !strings.Contains(err.Error(), "Limit: 1001") || !strings.Contains(err.Error(), `After: "?"`) {
			t.Errorf("%v; want both problems", err)
		}
	})
}

func TestInboxGetStatsConsumers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		if s, err := in.Stats(t.Context()); err != nil || s != (inbox.Stats{Applied: inbox.Count{Exact: true}, Suspects: inbox.Count{Exact: true}}) {
			t.Errorf("stats of an empty inbox: %+v, %v", s, err)
		}
		fill(t, in, db, 4)
		if r, err := in.Get(t.Context(), event(1).ID); err != nil || r.EventID != event(1).ID {
			t.Errorf("get: %+v, %v", r, err)
		}
		if _, err := in.Get(t.Context(), "nobody"); !errors.Is(err, inbox.ErrNotFound) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("get: %v, want ErrNotFound that names the event", err)
		}
		s, err := in.Stats(t.Context())
		if err != nil || s.Applied != (inbox.Count{N: 4, Exact: true}) || s.Newest.Sub(s.Oldest) != time.Hour {
			t.Errorf("stats %+v, %v", s, err)
		}
		for i := range 3 {
			other, err := inbox.New(db, fmt.Sprint("consumer-", i))
			if err != nil {
				t.Fatal(err)
			}
			fill(t, other, db, 2)
		}
		names, err := in.Consumers(t.Context())
		if err != nil || !slices.Equal(names, []string{"consumer-0", "consumer-1", "consumer-2", "notifications"}) {
			t.Errorf("consumers %v, %v", names, err)
		}
	})
}

func TestCount(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		fill(t, in, db, 4)
		all, err := in.List(t.Context(), inbox.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			q     inbox.ListQuery
			limit int
			want  int
			more  bool
		}{
			{inbox.ListQuery{}, 10, 4, false},
			{inbox.ListQuery{}, 3, 3, true},
			{inbox.ListQuery{EventID: event(1).ID}, 10, 1, false},
			{inbox.ListQuery{Topic: "nothing"}, 10, 0, false},
			{inbox.ListQuery{CorrelationID: all.Records[0].CorrelationID, Since: all.Records[0].ProcessedAt}, 10, 1, false},
			{inbox.ListQuery{Until: all.Records[1].ProcessedAt}, 10, 2, false},
		} {
			if n, more, err := in.Count(t.Context(), c.q, c.limit); n != c.want || more != c.more || err != nil {
				t.Errorf("%+v: %d, %v, %v; want %d, %v", c.q, n, more, err, c.want, c.more)
			}
		}
		if _, _, err := in.Count(t.Context(), inbox.ListQuery{}, 0); err == nil {
			t.Error("counted up to 0")
		}
	})
}

func TestSightings(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		fill(t, in, db, 2)
		other, err := inbox.New(db, "billing")
		if err != nil {
			t.Fatal(err)
		}
		fill(t, other, db, 1)
		db.MustExec(`INSERT INTO inbox_attempts (consumer, event_id, started) VALUES ('mail', $1, 3), ('notifications', $1, 1)`, event(0).ID)
		seen, err := other.Sightings(t.Context(), event(0).ID)
		if err != nil || len(seen) != 3 {
			t.Fatalf("%+v, %v", seen, err)
		}
		for i, want := range []struct {
			consumer string
			applied  bool
			started  int
		}{{"billing", true, 0}, {"mail", false, 3}, {"notifications", true, 1}} {
			s := seen[i]
			if s.Consumer != want.consumer || s.Applied() != want.applied || s.Started != want.started ||
				s.StartedAt.IsZero() != (want.started == 0) || s.Applied() && s.Record.EventID != event(0).ID {
				t.Errorf("%+v, want %+v", s, want)
			}
		}
		if seen, err := in.Sightings(t.Context(), event(1).ID); err != nil || len(seen) != 1 || seen[0].Consumer != "notifications" {
			t.Errorf("%+v, %v", seen, err)
		}
		if seen, err := in.Sightings(t.Context(), "nobody"); err != nil || len(seen) != 0 {
			t.Errorf("%+v, %v", seen, err)
		}
	})
}

func TestPurge(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		const day = 24 * time.Hour
		for name, age := range map[string]time.Duration{"old": 31 * day, "new": 29 * day} {
			for consumer, n := range map[string]int{"notifications": 12000, "invoices": 10} {
				if name == "new" {
					n = 10
				}
				mustExec(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
					WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < `+fmt.Sprint(n)+`)
					SELECT $1, '`+name+`-' || CAST(n AS text), $2, $3 FROM numbers`, consumer, make([]byte, sha256.Size), ago(db, age))
			}
			mustExec(t, db, `INSERT INTO inbox_attempts (consumer, event_id, started, started_at) VALUES ('notifications', $1, 1, $2)`,
				name, ago(db, age))
		}
		n, err := in.Purge(t.Context(), 30*day)
		if err != nil || n != 12000 {
			t.Fatalf("purged %d, %v; want 12000", n, err)
		}
		for query, want := range map[string]int{
			`SELECT count(*) FROM processed_events WHERE consumer = 'notifications'`: 10,
			`SELECT count(*) FROM processed_events WHERE consumer = 'invoices'`:      20,
			`SELECT count(*) FROM inbox_attempts WHERE event_id = 'new'`:             1,
			`SELECT count(*) FROM inbox_attempts`:                                    1,
		} {
			var got int
			if err := db.GetContext(t.Context(), &got, query); err != nil || got != want {
				t.Errorf("%s: %d, %v; want %d", query, got, err, want)
			}
		}
		if _, err := in.Purge(t.Context(), -time.Second); err == nil {
			t.Error("a negative age was accepted")
		}
	})
}

func TestApplied(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		fill(t, in, db, 3)
		other, err := inbox.New(db, "other consumer")
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{event(0).ID, "never", event(2).ID}
		for consumer, want := range map[*inbox.Inbox]int{in: 2, other: 0} {
			got, err := consumer.Applied(t.Context(), ids)
			if err != nil || len(got) != want || got["never"] || want > 0 && (!got[event(0).ID] || !got[event(2).ID]) {
				t.Errorf("%s: %v, %v", consumer.Consumer(), got, err)
			}
		}
		if got, err := in.Applied(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("of no ids: %v, %v", got, err)
		}
	})
}
