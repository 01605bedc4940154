//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tight is a file on a disk with little room: of a write that does not fit a part is written.
type tight struct {
	logFile
	room *atomic.Int64
}

func (f *tight) Write(b []byte) (int, error) {
	if left := f.room.Add(-int64(len(b))); left < 0 {
		f.room.Add(int64(len(b)))
		n, _ := f.logFile.Write(b[:len(b)/2])
		return n, syscall.ENOSPC
	}
	return f.logFile.Write(b)
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// TestAppendFullDisk fills the disk, goes on appending, asks for a new generation, and makes room again.
func TestAppendFullDisk(t *testing.T) {
	dir := t.TempDir()
	var synced atomic.Uint64
	j, err := Open(dir, nil, func(p Position) { synced.Store(uint64(p)) })
	if err != nil {
		t.Fatal(err)
	}
	room := new(atomic.Int64)
	j.writing.Lock()
	j.file = &tight{logFile: j.file, room: room}
	j.writing.Unlock()
	room.Store(100)
	var want []string
	add := func(n int) (last Position) {
		for range n {
			record := fmt.Sprintf("record %d", len(want))
			want = append(want, record)
			last = j.Append([]byte(record), true)
		}
		return last
	}
	safe := add(3)
	if err := j.Sync(safe); err != nil {
		t.Fatal(err)
	}
	stuck := add(20)
	await(t, "the disk to be full", j.Full)
	if err := j.Sync(stuck); !errors.Is(err, ErrFull) {
		t.Errorf("sync: %v", err)
	}
	if err := j.Write(stuck); !errors.Is(err, ErrFull) {
		t.Errorf("write: %v", err)
	}
	j.Throttle() // delays nobody
	s, err := j.BeginSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	s.Abort()
	last := add(5)
	// The first of the twenty fit if they were written one by one.
	if got := Position(synced.Load()); got < safe || got >= stuck || j.Err() != nil {
		t.Errorf("synced up to %d, want %d or more and less than %d; %v", got, safe, stuck, j.Err())
	}
	room.Store(1 << 20)
	await(t, "everything to be synced", func() bool { return Position(synced.Load()) == last })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got := replayed(t, dir)
	if !slices.Equal(got, want) {
		t.Fatalf("replayed %q, want %q", got, want)
	}
}

// TestSnapshotFullDisk replaces a log that lacks records for want of room: the snapshot has them, and what is appended
// meanwhile follows once there is room.
func TestSnapshotFullDisk(t *testing.T) {
	dir := t.TempDir()
	var synced atomic.Uint64
	j, err := Open(dir, nil, func(p Position) { synced.Store(uint64(p)) })
	if err != nil {
		t.Fatal(err)
	}
	room := new(atomic.Int64)
	j.writing.Lock()
	j.file = &tight{logFile: j.file, room: room}
	j.writing.Unlock()
	covered := j.Append([]byte("no room for this"), true)
	await(t, "the disk to be full", j.Full)
	s, err := j.BeginSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	last := j.Append([]byte("afterwards"), true)
	if err := errors.Join(s.Append([]byte("all there is")), s.Commit()); err != nil {
		t.Fatal(err)
	}
	await(t, "all to be synced", func() bool { return Position(synced.Load()) == last })
	if last <= covered {
		t.Error("positions went back")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, dir); !slices.Equal(got, []string{"all there is", "afterwards"}) {
		t.Errorf("replayed %q", got)
	}
}

// TestCloseFullDisk: Close returns an error, and what was written can be read.
func TestCloseFullDisk(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, nil, func(Position) {})
	if err != nil {
		t.Fatal(err)
	}
	j.writing.Lock()
	j.file = &tight{logFile: j.file, room: new(atomic.Int64)}
	j.writing.Unlock()
	j.Append([]byte("no room for this"), true)
	await(t, "the disk to be full", j.Full)
	if err := j.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("close: %v", err)
	}
	if got := replayed(t, dir); len(got) != 0 {
		t.Errorf("replayed %q", got)
	}
}

func replayed(t *testing.T, dir string) (records []string) {
	t.Helper()
	j, err := Open(dir, func(r []byte) error { records = append(records, string(r)); return nil }, func(Position) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return records
}
