package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a journal and returns it with the records it replayed.
func open(t *testing.T, dir string) (*journal.Journal, []string) {
	t.Helper()
	j, records, err := tryOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j, records
}

func tryOpen(dir string) (*journal.Journal, []string, error) {
	records := []string{}
	j, err := journal.Open(dir, func(r []byte) error {
		records = append(records, string(r))
		return nil
	}, func(journal.Position) {})
	return j, records, err
}

func closed(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) (records []string) {
	for i := from; i < to; i++ {
		records = append(records, fmt.Sprintf("record %d", i))
	}
	return records
}

func appendAll(j *journal.Journal, records []string) (last journal.Position) {
	for _, r := range records {
		last = j.Append([]byte(r), false)
	}
	return last
}

func wantRecords(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("replayed %d records %q, want %d", len(got), got, len(want))
	}
}

func TestRecoverRecords(t *testing.T) {
	dir := t.TempDir()
	j, records := open(t, dir)
	wantRecords(t, records, []string{})
	appendAll(j, numbered(0, 100))
	closed(t, j)
	j, records = open(t, dir)
	wantRecords(t, records, numbered(0, 100))
	appendAll(j, numbered(100, 101))
	closed(t, j)
	j, records = open(t, dir)
	wantRecords(t, records, numbered(0, 101))
	closed(t, j)
}

func TestWriteReachesOperatingSystem(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	defer closed(t, j)
	if err := j.Write(j.Append([]byte("needle"), false)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "00000001.journal")); err != nil || !strings.Contains(string(b), "needle") {
		t.Fatalf("the file holds %q, %v", b, err)
	}
}

func TestSyncWaitsForDisk(t *testing.T) {
	var mu sync.Mutex
	var seen journal.Position
	j, err := journal.Open(t.TempDir(), nil, func(p journal.Position) {
		mu.Lock()
		seen = max(seen, p)
		mu.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 50 {
				if err := j.Sync(j.Append([]byte("x"), true)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	last := j.Append([]byte("x"), false)
	closed(t, j)
	if seen != last {
		t.Fatalf("synced up to %d, appended up to %d", seen, last)
	}
	if err := j.Sync(j.Append([]byte("too late"), true)); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("sync after close: %v", err)
	}
}

// TestRecoverTornTail cuts the log at every byte, as a crash may, and also leaves zeros or random bytes behind the cut.
func TestRecoverTornTail(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	appendAll(j, numbered(0, 4))
	closed(t, j)
	path := filepath.Join(dir, "00000001.journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const magic, size = 20, 8 + len("record 0")
	for cut := range len(whole) {
		for _, tail := range []string{"", strings.Repeat("\x00", 40), "rubbish that is no record at all"} {
			if cut < magic && tail != "" {
				continue // then it is not a journal
			}
			if err := os.WriteFile(path, append(slices.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			j, records := open(t, dir)
			intact := max(0, cut-magic) / size
			wantRecords(t, records, append([]string{}, numbered(0, intact)...))
			appendAll(j, []string{"after the repair"})
			closed(t, j)
			j, records = open(t, dir)
			wantRecords(t, records, append(numbered(0, intact), "after the repair"))
			closed(t, j)
		}
	}
}

func TestRecoverDamagedOlderFile(t *testing.T) {
	for _, c := range []struct {
		file, complaint string
		damage          func(path string) error
	}{
		{"00000001.journal", "damaged record", flip},
		{"00000002.snapshot", "damaged record", flip},
		{"00000001.journal", "not a journal of this program", func(path string) error { return os.WriteFile(path, []byte("precious data of somebody else"), 0o600) }},
		{"00000002.journal", "incomplete", os.Remove},
	} {
		t.Run(c.file+" "+c.complaint, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir)
			appendAll(j, numbered(0, 10))
			s, err := j.BeginSnapshot()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(c.file, "snapshot") {
				if err := errors.Join(s.Append([]byte("all there is")), s.Commit()); err != nil {
					t.Fatal(err)
				}
			} else {
				s.Abort() // two logs without snapshot
			}
			if err := j.Sync(appendAll(j, numbered(10, 20))); err != nil {
				t.Fatal(err)
			}
			closed(t, j)
			if c.file == "00000002.journal" {
				err = os.WriteFile(filepath.Join(dir, "00000003.journal"), []byte("devbroker journal 1\n"), 0o600)
			}
			if err := errors.Join(err, c.damage(filepath.Join(dir, c.file))); err != nil {
				t.Fatal(err)
			}
			if _, _, err := tryOpen(dir); err == nil || !strings.Contains(err.Error(), c.complaint) || !strings.Contains(err.Error(), c.file) {
				t.Fatalf("opened with %v", err)
			}
		})
	}
}

// flip changes a byte in the middle of a file.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func TestRecoverReplayError(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	appendAll(j, numbered(0, 1))
	closed(t, j)
	bad := errors.New("cannot make sense of it")
	if _, err := journal.Open(dir, func([]byte) error { return bad }, nil); !errors.Is(err, bad) {
		t.Fatalf("got %v", err)
	}
	j, _ = open(t, dir) // the lock was released
	closed(t, j)
}

func TestOpenLocked(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	if _, _, err := tryOpen(dir); !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("opened twice: %v", err)
	}
	closed(t, j)
	if err := j.Close(); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("closed twice: %v", err)
	}
}
