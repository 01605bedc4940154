// Package journal keeps records on disk: an append-only log with group commit, checksums, repair of a torn tail, and
// compaction while it is written to.
//
// A directory holds generations. "00000007.journal" is the log of generation 7; "00000007.snapshot", if present, is
// all that mattered when that log began, so that whatever is older may go. Opening replays the newest snapshot and the
// logs from there on. Compaction starts a new generation, writes its snapshot beside the growing log, and then deletes
// the old generations; a crash in between leaves the old ones in charge.
//
// A disk that is full is waited for: what was appended stays in memory, whole, until there is room. Every other failure
// to write is final.
//
// Group commit: records appended while one fsync is under way share the next one.
package journal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

// backlogLimit is how many bytes may wait to be written before [Journal.Throttle] blocks.
const backlogLimit = 8 << 20

// ErrClosed is returned when a journal is used after Close.
var ErrClosed = errors.New("journal is closed")

// ErrFull is returned while the disk is full. Appended records are written once there is space.
var ErrFull = errors.New("the disk is full")

// fullRetry is how often a write to a full disk is retried.
const fullRetry = 100 * time.Millisecond

// ErrLocked is returned by Open if another process uses the directory.
var ErrLocked = errors.New("directory is in use by another process")

// Position counts the bytes appended since a journal was opened. Earlier records have lower positions.
type Position uint64

// never is the position of a record that was not appended.
const never = Position(math.MaxUint64)

// Journal is a log open for appending. Its methods are safe for concurrent use.
type Journal struct {
	dir     string
	lock    *flock.Flock
	reserve atomic.Int64
	// committed is called by the committing goroutine after each write or sync.
	committed func(synced Position)
	done      sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // mu; broadcast when a field below changes
	pending  []byte    // appended, not yet written
	spare    []byte    // the buffer to swap with pending
	appended Position
	synced   Position
	urgent   bool // a caller waits for an fsync of pending
	closed   bool
	err      error // sticky: after a failed write or fsync nothing is guaranteed any more
	full     bool  // the last write failed for lack of space
	retry    bool  // it is time to retry
	rotateAt int   // where in pending the next generation begins; -1: nowhere
	active   uint64
	sizes    map[uint64]int64 // bytes on disk by generation, snapshot included

	writing sync.Mutex // held while writing to file; taken before mu
	file    logFile
	whole   int64     // bytes in file that make up whole records
	retired []logFile // logs of older generations, closed by the committing goroutine alone
	written atomic.Uint64
}

// logFile is what a journal needs of a file.
type logFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// Open locks dir, creating it if need be, hands every record found to replay in order, and returns the journal ready
// for appending. A tail torn by a crash is cut off; damage anywhere else is an error. The record passed to replay is
// valid during the call only.
//
// committed is called after each write and fsync, from one goroutine, with the position up to which everything is
// safe; it must not block for long, and must not call Sync.
func Open(dir string, replay func(record []byte) error, committed func(synced Position)) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, lock: lock, committed: committed, rotateAt: -1, sizes: make(map[uint64]int64)}
	j.changed.L = &j.mu
	if err := j.recover(replay); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j.done.Go(j.commit)
	return j, nil
}

// KeepFree keeps that many bytes of the disk free, so that there is space for a snapshot when the log has filled it.
func (j *Journal) KeepFree(n int64) { j.reserve.Store(n) }

// Append adds a record, which must not be empty, and returns the position after it. durable requests an fsync soon;
// other records are written to the operating system soon, and synced with the next durable one. On a closed or broken
// journal it does nothing, and returns a position that is never reached.
func (j *Journal) Append(record []byte, durable bool) Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || j.err != nil {
		return never
	}
	idle := len(j.pending) == 0
	before := len(j.pending)
	j.pending = appendRecord(j.pending, record)
	j.appended += Position(len(j.pending) - before)
	if idle || durable && !j.urgent {
		j.changed.Broadcast()
	}
	j.urgent = j.urgent || durable
	return j.appended
}

// Write writes everything up to pos to the operating system: it then survives the end of this process, but not of the
// machine. While the disk is full it returns [ErrFull] at once.
func (j *Journal) Write(pos Position) error {
	if Position(j.written.Load()) >= pos {
		return nil
	}
	if j.Full() {
		return ErrFull
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if Position(j.written.Load()) >= pos {
		return nil
	}
	return j.flush()
}

// Sync waits until everything up to pos is on disk. While the disk is full it returns [ErrFull] at once.
func (j *Journal) Sync(pos Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.synced < pos && j.err == nil {
		if j.closed && pos > j.appended {
			return ErrClosed
		}
		if j.full {
			return ErrFull
		}
		if !j.urgent {
			j.urgent = true
			j.changed.Broadcast()
		}
		j.changed.Wait()
	}
	return j.err
}

// Throttle blocks while the disk is far behind the appended records, but not while it is full.
func (j *Journal) Throttle() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.pending) > backlogLimit && j.err == nil && !j.closed && !j.full {
		j.changed.Wait()
	}
}

// Size returns the bytes that the journal takes on disk.
func (j *Journal) Size() (total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range j.sizes {
		total += n
	}
	return total
}

// Full reports whether the last write failed for lack of space.
func (j *Journal) Full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// Err returns the error that broke the journal, if any.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close syncs the appended records and closes the journal. No snapshot may be in progress.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.changed.Broadcast()
	j.mu.Unlock()
	j.done.Wait()
	err := j.Err()
	return errors.Join(err, j.file.Close(), j.lock.Close())
}

// commit is the goroutine that writes and syncs until the journal is closed or broken.
func (j *Journal) commit() {
	for {
		j.mu.Lock()
		for !j.due() {
			j.changed.Wait()
		}
		last, urgent, failed := j.closed, j.urgent || j.closed, j.err != nil
		j.urgent, j.retry = false, false
		j.mu.Unlock()
		if failed {
			j.committed(j.synced)
			return
		}

		j.writing.Lock()
		err := j.flush()
		file, written := j.file, Position(j.written.Load())
		retired := j.retired
		j.retired = nil
		j.writing.Unlock()

		if err == nil && urgent {
			err = file.Sync()
		}
		for _, f := range retired {
			err = errors.Join(err, f.Close())
		}
		j.mu.Lock()
		switch {
		case errors.Is(err, ErrFull) && !last:
			j.urgent = urgent
			time.AfterFunc(fullRetry, j.tryAgain)
		case err != nil:
			j.fail(err)
		case urgent:
			j.synced = written
		}
		synced := j.synced
		j.changed.Broadcast()
		j.mu.Unlock()
		j.committed(synced)
		if last {
			return
		}
	}
}

// due reports whether there is something to write, or to end. The caller holds mu.
func (j *Journal) due() bool {
	switch {
	case j.closed || j.err != nil:
		return true
	case j.full:
		return j.retry
	}
	return len(j.pending) > 0 || j.rotateAt >= 0 || j.urgent
}

func (j *Journal) tryAgain() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.retry = true
	j.changed.Broadcast()
}

// flush writes what is pending. The caller holds writing.
func (j *Journal) flush() error {
	j.mu.Lock()
	if j.err != nil {
		defer j.mu.Unlock()
		return j.err
	}
	buf, cut, pos := j.pending, j.rotateAt, j.appended
	j.pending, j.spare, j.rotateAt = j.spare[:0], nil, -1
	generation := j.active
	j.mu.Unlock()

	var err error
	done := 0 // bytes of buf
	if cut >= 0 {
		if err = j.write(generation, buf[:cut]); err == nil {
			done = cut
			err = j.beginGeneration(generation + 1)
		}
		if err == nil {
			generation, cut = generation+1, -1
		}
	}
	if err == nil {
		if err = j.write(generation, buf[done:]); err == nil {
			done = len(buf)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active = generation
	j.full = isFull(err) || errors.Is(err, ErrFull)
	switch {
	case j.full:
		j.keep(buf[done:], cut-done)
		err = ErrFull
	case err != nil:
		j.fail(err)
		return err
	case cap(buf) <= backlogLimit:
		j.spare = buf[:0]
	}
	j.written.Store(uint64(pos) - uint64(len(buf)-done))
	j.changed.Broadcast()
	return err
}

// keep puts back what could not be written for lack of space, before what was appended meanwhile. cut is the offset
// in it at which the next generation begins, negative if none does. The caller holds mu.
func (j *Journal) keep(left []byte, cut int) {
	switch {
	case j.rotateAt >= 0: // a later one was requested meanwhile, which replaces both
		j.rotateAt += len(left)
	case cut >= 0:
		j.rotateAt = cut
	}
	j.pending = append(left, j.pending...)
}

// write appends whole records to the log, all of them or none.
func (j *Journal) write(generation uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if reserve := j.reserve.Load(); reserve > 0 {
		if free, _, known := Space(j.dir); known && free-int64(len(b)) < reserve {
			return ErrFull
		}
	}
	if _, err := j.file.Write(b); err != nil {
		if isFull(err) {
			if cut := j.file.Truncate(j.whole); cut != nil {
				return fmt.Errorf("after %v: %w", err, cut) // half a record remains: nothing may follow it
			}
		}
		return err
	}
	j.whole += int64(len(b))
	j.mu.Lock()
	j.sizes[generation] += int64(len(b))
	j.mu.Unlock()
	return nil
}

// beginGeneration syncs the current log and continues in a new one, so that only the newest log can have a torn tail.
func (j *Journal) beginGeneration(generation uint64) error {
	if err := j.file.Sync(); err != nil {
		return err
	}
	f, err := createLog(j.dir, generation)
	if err != nil {
		return err
	}
	j.retired = append(j.retired, j.file)
	j.file, j.whole = f, int64(len(fileMagic))
	j.mu.Lock()
	j.sizes[generation] += int64(len(fileMagic))
	j.mu.Unlock()
	return nil
}

// fail records the first error. The caller holds mu.
func (j *Journal) fail(err error) {
	if j.err == nil {
		j.err = fmt.Errorf("journal in %s: %w", j.dir, err)
		j.changed.Broadcast()
	}
}
