package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
)

func begin(t *testing.T, j *journal.Journal) *journal.Snapshot {
	t.Helper()
	s, err := j.BeginSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(t *testing.T, s *journal.Snapshot, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := s.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, s *journal.Snapshot) {
	t.Helper()
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestSnapshotReplacesEarlier(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	appendAll(j, numbered(0, 1000))
	s := begin(t, j)
	// While the snapshot is written. What is not on disk has no size yet.
	if err := j.Sync(appendAll(j, numbered(1000, 1002))); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "sum of 0 to 999")
	before := j.Size()
	commit(t, s)
	if after := j.Size(); after >= before || after > 200 {
		t.Errorf("size went from %d to %d", before, after)
	}
	if got := files(t, dir); got != "00000002.journal 00000002.snapshot lock" {
		t.Errorf("left %s", got)
	}
	appendAll(j, numbered(1002, 1003))
	closed(t, j)
	j, records := open(t, dir)
	wantRecords(t, records, append([]string{"sum of 0 to 999"}, numbered(1000, 1003)...))

	s = begin(t, j) // and once more, on top of it
	fill(t, s, "all in all")
	commit(t, s)
	closed(t, j)
	j, records = open(t, dir)
	wantRecords(t, records, []string{"all in all"})
	closed(t, j)
}

func TestSnapshotEmpty(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	appendAll(j, numbered(0, 10))
	commit(t, begin(t, j))
	closed(t, j)
	j, records := open(t, dir)
	wantRecords(t, records, []string{})
	closed(t, j)
}

// TestSnapshotCrash copies the directory at each stage, as a crash would leave it.
func TestSnapshotCrash(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	appendAll(j, numbered(0, 10))
	s := begin(t, j)
	if err := j.Sync(appendAll(j, numbered(10, 12))); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "sum of 0 to 9")
	unfinished := copied(t, dir)
	oldLog, err := os.ReadFile(filepath.Join(dir, "00000001.journal"))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	closed(t, j)

	j, records := open(t, unfinished)
	wantRecords(t, records, numbered(0, 12))
	if got := files(t, unfinished); strings.Contains(got, "snapshot") {
		t.Errorf("left %s", got)
	}
	s = begin(t, j) // the next one is not disturbed by the first
	fill(t, s, "sum of 0 to 11")
	commit(t, s)
	closed(t, j)
	j, records = open(t, unfinished)
	wantRecords(t, records, []string{"sum of 0 to 11"})
	closed(t, j)

	undeleted := copied(t, dir)
	if err := os.WriteFile(filepath.Join(undeleted, "00000001.journal"), oldLog, 0o600); err != nil {
		t.Fatal(err)
	}
	j, records = open(t, undeleted)
	wantRecords(t, records, append([]string{"sum of 0 to 9"}, numbered(10, 12)...))
	if got := files(t, undeleted); strings.Contains(got, "00000001") {
		t.Errorf("left %s", got)
	}
	closed(t, j)
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestSnapshotUnderLoad takes snapshots while others append: what is replayed must always be the snapshot's sum and
// everything after it.
func TestSnapshotUnderLoad(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	var (
		mu       sync.Mutex // stands for the broker's lock
		appended int
		writers  sync.WaitGroup
	)
	for range 4 {
		writers.Go(func() {
			for i := range 500 {
				mu.Lock()
				pos := j.Append([]byte("+1"), i%50 == 0)
				appended++
				mu.Unlock()
				if i%50 == 0 {
					if err := j.Sync(pos); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 20 {
		mu.Lock()
		s, err := j.BeginSnapshot()
		sum := appended
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, fmt.Sprint(sum))
		commit(t, s)
	}
	writers.Wait()
	closed(t, j)
	j, records := open(t, dir)
	closed(t, j)
	var sum int
	if _, err := fmt.Sscan(records[0], &sum); err != nil {
		t.Fatal(err)
	}
	if total := sum + len(records) - 1; total != 4*500 {
		t.Fatalf("replayed %d and %d more, want 2000 in all", sum, len(records)-1)
	}
}
