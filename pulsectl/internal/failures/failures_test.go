package failures_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/failures"
)

func TestRead(t *testing.T) {
	db, err := sqlite.Open(sqlite.URL(filepath.Join(t.TempDir(), "outbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := func(status, key, text string, attempts, minute int) {
		db.MustExec(`INSERT INTO outbox_messages (topic, type, key, payload, bucket, status, attempts, last_error, rescheduled_at) VALUES ('t', 'T', ?, x'', 0, ?, ?, ?, ?)`,
			key, status, attempts, text, fmt.Sprintf("2026-01-02 15:%02d:00.000000", minute))
	}
	for i := range 12 { // more than a group names
		put("dead", fmt.Sprint("key-", i/2), fmt.Sprintf("payload of %d bytes", 1000+i), 1, 10+i)
	}
	put("pending", "key-0", "payload of 7 bytes", 2, 40)
	put("pending", "", "nacked", 2, 50)
	put("pending", "key-9", "", 0, 0) // has not failed
	put("dead", "key-9", "nacked", 1, 5)

	all, err := failures.Read(t.Context(), ob, outbox.ListQuery{})
	if err != nil || len(all.Groups) != 2 || all.Failed != 15 || all.More {
		t.Fatalf("%+v, %v", all, err)
	}
	g := all.Groups[0]
	if g.Error != "payload of <n> bytes" || g.Count != 13 || g.Dead != 12 || g.Retrying != 1 || g.BlockedKeys != 6 || len(g.Keys) != 6 ||
		!slices.Equal(g.Topics, []string{"t"}) || g.Example.LastError != "payload of 1000 bytes" {
		t.Errorf("%+v", g)
	}
	if first, last := g.First.Format(time.TimeOnly), g.Last.Format(time.TimeOnly); first != "15:10:00" || last != "15:40:00" {
		t.Errorf("from %s to %s", first, last)
	}
	if g := all.Groups[1]; g.Error != "nacked" || g.Count != 2 || g.BlockedKeys != 1 {
		t.Errorf("%+v", g)
	}
	dead, err := failures.Read(t.Context(), ob, outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}, ErrorContains: "NACKED"})
	if err != nil || len(dead.Groups) != 1 || dead.Failed != 1 {
		t.Errorf("%+v, %v", dead, err)
	}
	retrying, err := failures.Read(t.Context(), ob, outbox.ListQuery{Retrying: true})
	if err != nil || len(retrying.Groups) != 2 || retrying.Failed != 2 {
		t.Errorf("%+v, %v", retrying, err)
	}
}
