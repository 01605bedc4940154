package outbox

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func countOf(t testing.TB, ob *Outbox, q ListQuery) int {
	t.Helper()
	n, _, err := ob.Count(t.Context(), q, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// All that match are changed, in more than one chunk, under one entry; nothing else is.
func TestMatchingChangesWhatIsChosen(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		const dead = matchingChunk + 7
		var msgs []Message
		for range dead {
			msgs = append(msgs, Message{ID: uuid.New(), Topic: "t"})
		}
		enqueue(t, ob, msgs...)
		db.MustExec(`UPDATE outbox_messages SET status = 'dead', attempts = 1, last_error = 'too large: 7'`)
		other := put(t, ob, Message{Topic: "u"}, Dead, 1)
		retrying := put(t, ob, Message{Topic: "t"}, Pending, 2)
		fresh := put(t, ob, Message{Topic: "t"}, Pending, 0)

		var told []int64
		n, err := ob.Operator("alice", "made room").RetryMatching(t.Context(),
			ListQuery{Topic: "t", ErrorContains: "TOO LARGE", Statuses: []Status{Dead}}, func(n int64) { told = append(told, n) })
		if n != dead || err != nil || len(told) != 2 || told[1] != dead {
			t.Fatalf("%d, %v, progress %v; want %d", n, err, told, dead)
		}
		e := auditOf(t, ob, AuditQuery{})
		if len(e) != 1 || e[0].Count != dead || len(e[0].IDs) != MaxAuditIDs || e[0].Reason != "made room" ||
			!maps.Equal(e[0].Filter, map[string]string{"topic": "t", "error": "TOO LARGE", "status": "dead"}) {
			t.Errorf("%+v", e)
		}
		if got := get(t, ob, other).Status; got != Dead {
			t.Errorf("another topic's is %s", got)
		}
		if got := get(t, ob, retrying).Attempts; got != 2 {
			t.Errorf("a retrying one has %d attempts", got)
		}

		// The retrying ones; those that have not failed stay.
		if n, err := ob.Operator("alice", "gone").DiscardMatching(t.Context(), ListQuery{Retrying: true}, nil); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if got := get(t, ob, retrying); got.Status != Discarded || !strings.HasPrefix(got.LastError, "discarded: gone") {
			t.Errorf("%+v", got)
		}
		// No more than asked for, the oldest first.
		if n, err := ob.Operator("alice", "gone").DiscardMatching(t.Context(), ListQuery{Topic: "t", Statuses: []Status{Pending}, Limit: 3}, nil); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for i, m := range msgs[:4] {
			if got, want := get(t, ob, m.ID).Status, []Status{Discarded, Discarded, Discarded, Pending}[i]; got != want {
				t.Errorf("message %d is %s, want %s", i, got, want)
			}
		}
		if got := get(t, ob, fresh).Status; got != Pending {
			t.Errorf("the newest is %s", got)
		}
		// Nothing that matches is nothing to record.
		before := len(auditOf(t, ob, AuditQuery{}))
		if n, err := ob.Operator("alice", "").RetryMatching(t.Context(), ListQuery{Topic: "nobody", Statuses: []Status{Dead}}, nil); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if after := len(auditOf(t, ob, AuditQuery{})); after != before {
			t.Errorf("%d entries, want %d", after, before)
		}
		if n := countOf(t, ob, ListQuery{Statuses: []Status{Dead}}); n != 1 {
			t.Errorf("%d are dead, want the one of another topic", n)
		}
	})
}

func TestMatchingDemandsAChoice(t *testing.T) {
	ob, _ := file.newOutbox(t)
	by := ob.Operator("alice", "test")
	for _, q := range []ListQuery{{}, {Topic: "t"}, {Statuses: []Status{Published}}, {Statuses: []Status{Pending, Dead}}, {Statuses: []Status{Dead}, Retrying: true},
		{Statuses: []Status{Dead}, Limit: -1}} {
		if _, err := by.RetryMatching(t.Context(), q, nil); err == nil || !strings.Contains(err.Error(), "bad query") {
			t.Errorf("retry %+v: %v", q, err)
		}
	}
	if _, err := by.DiscardMatching(t.Context(), ListQuery{Statuses: []Status{Discarded}}, nil); err == nil || !strings.Contains(err.Error(), "bad query") {
		t.Error(err)
	}
	if _, err := ob.Operator("alice", "").DiscardMatching(t.Context(), ListQuery{Statuses: []Status{Dead}}, nil); err == nil || !strings.Contains(err.Error(), "reason: is empty") {
		t.Error(err)
	}
}

func TestPurgeByHandIsRecorded(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		const old = purgeChunk + 5
		var msgs []Message
		for range old + 2 {
			msgs = append(msgs, Message{Topic: "t"})
		}
		enqueue(t, ob, msgs...)
		db.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = `+clock(db, "-2 hours")+`, created_at = `+clock(db, "-3 hours")+` WHERE seq <= $1`, old)
		if n, err := ob.Purgeable(t.Context(), time.Hour); n != old || err != nil {
			t.Errorf("%d, %v; want %d to be deleted", n, err, old)
		}
		if n, err := ob.Operator("alice", "disk is full").Purge(t.Context(), time.Hour, nil); n != old || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		e := auditOf(t, ob, AuditQuery{})
		if len(e) != 1 || e[0].Action != ActionPurge || e[0].Count != old || e[0].Filter["older-than"] != "1h0m0s" || e[0].Reason != "disk is full" {
			t.Errorf("%+v", e)
		}
		if n, err := ob.Purge(t.Context(), time.Hour); n != 0 || err != nil { // as by a relay
			t.Errorf("%d, %v", n, err)
		}
		if n := countOf(t, ob, ListQuery{}); n != 2 {
			t.Errorf("%d are left, want 2", n)
		}
	})
}
