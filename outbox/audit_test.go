package outbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func auditOf(t testing.TB, ob *Outbox, q AuditQuery) []AuditEntry {
	t.Helper()
	page, err := ob.Audit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

func TestAuditKeepsWhoDidWhat(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		a := put(t, ob, Message{Topic: "t"}, Dead, 1)
		b := put(t, ob, Message{Topic: "t"}, Dead, 1)
		fresh := put(t, ob, Message{Topic: "t"}, Pending, 0)
		published := put(t, ob, Message{Topic: "t"}, Published, 0)
		if _, err := ob.Operator("alice", "queue is bound again").Retry(t.Context(), a, fresh, b); err != nil {
			t.Fatal(err)
		}
		if _, err := ob.Operator("bob", "customer was deleted").Discard(t.Context(), b, published); !errors.Is(err, ErrStatus) {
			t.Fatal(err)
		}
		if _, err := ob.Retry(t.Context(), fresh); err != nil { // changes nothing
			t.Fatal(err)
		}
		entries := auditOf(t, ob, AuditQuery{})
		if len(entries) != 2 {
			t.Fatalf("%+v; want one entry for each that changed something", entries)
		}
		for i, want := range []AuditEntry{
			{Actor: "bob", Action: ActionDiscard, Reason: "customer was deleted", Count: 1, IDs: []string{b.String()}},
			{Actor: "alice", Action: ActionRetry, Reason: "queue is bound again", Count: 2, IDs: sorted(a, b)},
		} {
			e := entries[i]
			if e.Actor != want.Actor || e.Action != want.Action || e.Reason != want.Reason || e.Count != want.Count ||
				!slices.Equal(e.IDs, want.IDs) || e.Filter != nil || databaseClock(t, ob).Sub(e.At).Abs() > time.Hour {
				t.Errorf("%+v, want %+v", e, want)
			}
		}
		if _, err := ob.Operator(" ", "x").Retry(t.Context(), a); err == nil || !strings.Contains(err.Error(), "actor: is empty") {
			t.Errorf("nobody: %v", err)
		}
		// In nobody's name the program is named.
		if _, err := ob.Discard(t.Context(), "test", a); err != nil {
			t.Fatal(err)
		}
		if e := auditOf(t, ob, AuditQuery{Limit: 1})[0]; e.Actor != thisProgram() || e.Reason != "test" {
			t.Errorf("%+v", e)
		}
	})
}

func sorted(ids ...uuid.UUID) (texts []string) {
	for _, id := range ids {
		texts = append(texts, id.String())
	}
	slices.Sort(texts)
	return texts
}

// What cannot be recorded is not done.
func TestAuditIsOneTransactionWithItsEffect(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		dead := put(t, ob, Message{Topic: "t"}, Dead, 1)
		db.MustExec(`ALTER TABLE outbox_audit RENAME TO gone`)
		if n, err := ob.Retry(t.Context(), dead); n != 0 || err == nil {
			t.Errorf("retry: %d, %v", n, err)
		}
		if n, err := ob.Discard(t.Context(), "test", dead); n != 0 || err == nil {
			t.Errorf("discard: %d, %v", n, err)
		}
		if r, err := ob.Operator("alice", "").Record(t.Context(), ActionReplay, nil); r != nil || err == nil {
			t.Errorf("record: %v, %v", r, err)
		}
		if got := get(t, ob, dead).Status; got != Dead {
			t.Errorf("%s, want it left alone", got)
		}
	})
}

// An entry grows with what it is about, and keeps no more ids than it may.
func TestAuditRecordGrows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		filter := map[string]string{"times": "3", "topic": "order.created"}
		r, err := ob.Operator("alice", "").Record(t.Context(), ActionReplay, filter)
		if err != nil {
			t.Fatal(err)
		}
		if e := auditOf(t, ob, AuditQuery{}); len(e) != 1 || e[0].Count != 0 || len(e[0].IDs) != 0 || !maps.Equal(e[0].Filter, filter) {
			t.Fatalf("%+v; want the entry before anything is done", e)
		}
		const n = MaxAuditIDs + 20
		for i := 0; i < n; i += 30 {
			var ids []string
			for j := range 30 {
				ids = append(ids, fmt.Sprint("message-", i+j))
			}
			if err := r.Add(t.Context(), ids...); err != nil {
				t.Fatal(err)
			}
		}
		e := auditOf(t, ob, AuditQuery{})
		if len(e) != 1 || e[0].Count != n || len(e[0].IDs) != MaxAuditIDs || e[0].IDs[99] != "message-99" {
			t.Errorf("%+v, want one entry of %d", e, n)
		}
		if _, err := ob.Operator("alice", "").Record(t.Context(), " ", nil); err == nil || !strings.Contains(err.Error(), "action: is empty") {
			t.Errorf("no action: %v", err)
		}
	})
}

func TestAuditFilters(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		for i := range 5 {
			r, err := ob.Operator([]string{"alice", "bob"}[i%2], fmt.Sprint(i)).Record(t.Context(), []string{"replay", "export"}[i/3], nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Add(t.Context(), fmt.Sprint("message-", i)); err != nil {
				t.Fatal(err)
			}
		}
		db.MustExec(`UPDATE outbox_audit SET at = ` + clock(db, "-1 hours") + ` WHERE id <= 2`)
		halfAnHourAgo := databaseClock(t, ob).Add(-30 * time.Minute)
		for name, c := range map[string]struct {
			q    AuditQuery
			want string // the reasons
		}{
			"all":     {AuditQuery{}, "43210"},
			"actor":   {AuditQuery{Actor: "bob"}, "31"},
			"action":  {AuditQuery{Action: "export"}, "43"},
			"message": {AuditQuery{MessageID: "message-2"}, "2"},
			"since":   {AuditQuery{Since: halfAnHourAgo}, "432"},
			"until":   {AuditQuery{Until: halfAnHourAgo}, "10"},
			"both":    {AuditQuery{Actor: "alice", Action: "replay"}, "20"},
			"nobody":  {AuditQuery{Actor: "carol"}, ""},
		} {
			got := ""
			for _, e := range auditOf(t, ob, c.q) {
				got += e.Reason
			}
			if got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
		got, q := "", AuditQuery{Limit: 2}
		for {
			page, err := ob.Audit(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				got += e.Reason
			}
			if got += "|"; page.Next == 0 {
				break
			}
			q.After = page.Next
		}
		if got != "43|21|0|" {
			t.Errorf("pages %q", got)
		}
		if _, err := ob.Audit(t.Context(), AuditQuery{Limit: MaxLimit + 1}); err == nil {
			t.Error("a page too large is no error")
		}
	})
}

// Roles that could intervene before the table was there still can.
func TestAuditGrantsFollowLeases(t *testing.T) {
	ob, db := postgres.unmigrated(t)
	steps, err := Schema(PostgreSQL)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps[:2] {
		db.MustExec(step.SQL)
	}
	role := "Operator " + uuid.NewString()[:8]
	db.MustExec(`CREATE ROLE "` + role + `"`)
	t.Cleanup(func() {
		db.MustExec(`DROP OWNED BY "` + role + `"`)
		db.MustExec(`DROP ROLE "` + role + `"`)
	})
	db.MustExec(`GRANT SELECT, UPDATE ON outbox_leases TO "` + role + `"`)
	db.MustExec(`GRANT INSERT ON outbox_leases TO PUBLIC`)
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"outbox_audit", "outbox_pauses"} {
		for right, want := range map[string]bool{"SELECT": true, "UPDATE": true, "INSERT": true, "DELETE": false} {
			var got bool
			if err := db.Get(&got, `SELECT has_table_privilege($1, $2, $3)`, role, table, right); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s on %s: %v, want %v", right, table, got, want)
			}
		}
	}
}
