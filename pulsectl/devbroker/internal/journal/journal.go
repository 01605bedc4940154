// Package journal keeps records on disk: an append-only log with group commit, checksums, repair of a torn tail, and
// compaction while it is written to.
//
// A directory holds generations. "00000007.journal" is the log of generation 7; "00000007.snapshot", if present, is
// all that mattered when that log began, so that whatever is older may go. Opening replays the newest snapshot and the
// logs from there on. Compaction starts a new generation, writes its snapshot beside the growing log, and then deletes
// the old generations; a crash in between leaves the old ones in charge.
//
// Group commit: records appended while one fsync is under way share the next one.
package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
)

// backlogLimit is how much may wait to be written before [Journal.Throttle] holds callers back, in bytes.
const backlogLimit = 8 << 20

// ErrClosed is returned when a journal is used after Close.
var ErrClosed = errors.New("journal is closed")

// ErrLocked is returned by Open when another process has the directory.
var ErrLocked = errors.New("directory is in use by another process")

// Position counts the bytes appended since a journal was opened. What was appended earlier has a lower position.
type Position uint64

// never is the position of what was not appended.
const never = Position(math.MaxUint64)

// Journal is a log open for appending. Its methods are safe for concurrent use.
type Journal struct {
	dir  string
	lock *os.File
	// committed is called by the committing goroutine each time it has written or synced something.
	committed func(synced Position)
	done      sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // mu; broadcast when anything below moved on
	pending  []byte    // appended, not yet written
	spare    []byte    // the buffer to swap with pending
	appended Position
	synced   Position
	urgent   bool // somebody waits for an fsync of pending
	closed   bool
	err      error // sticky: after a failed write or fsync nothing more is promised
	rotateAt int   // where in pending the next generation begins; -1: nowhere
	active   uint64
	sizes    map[uint64]int64 // bytes on disk by generation, snapshot included

	writing sync.Mutex // held while writing to file; taken before mu
	file    *os.File
	retired []*os.File // logs of older generations, closed by the committing goroutine alone
	written atomic.Uint64
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

// Append adds a record, which must not be empty, and returns the position behind it. durable asks for an fsync soon;
// other records are handed to the operating system soon, and are synced with the next durable one. On a journal that
// is closed or broken it does nothing, and returns a position that is never reached.
func (j *Journal) Append(record []byte, durable bool) Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || j.err != nil {
		return never
	}
	idle := len(j.pending) == 0
	before := len(j.pending)
	j.pending = appendFrame(j.pending, record)
	j.appended += Position(len(j.pending) - before)
	if idle || durable && !j.urgent {
		j.changed.Broadcast()
	}
	j.urgent = j.urgent || durable
	return j.appended
}

// Write hands everything up to pos to the operating system: it then survives the end of this process, though not of
// the machine.
func (j *Journal) Write(pos Position) error {
	if Position(j.written.Load()) >= pos {
		return nil
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if Position(j.written.Load()) >= pos {
		return nil
	}
	return j.flush()
}

// Sync waits until everything up to pos is on disk.
func (j *Journal) Sync(pos Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.synced < pos && j.err == nil {
		if j.closed && pos > j.appended {
			return ErrClosed
		}
		if !j.urgent {
			j.urgent = true
			j.changed.Broadcast()
		}
		j.changed.Wait()
	}
	return j.err
}

// Throttle waits while the disk is far behind what is appended.
func (j *Journal) Throttle() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.pending) > backlogLimit && j.err == nil && !j.closed {
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

// Err returns the error that ended the journal's promises, if one did.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close syncs what was appended and closes the journal. No snapshot may be under way.
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
		for len(j.pending) == 0 && j.rotateAt < 0 && !j.urgent && !j.closed && j.err == nil {
			j.changed.Wait()
		}
		last, urgent, failed := j.closed, j.urgent || j.closed, j.err != nil
		j.urgent = false
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
		if err != nil {
			j.fail(err)
		} else if urgent {
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
	rest := buf
	if cut >= 0 {
		if err = j.write(generation, rest[:cut]); err == nil {
			err = j.beginGeneration(generation + 1)
		}
		generation++
		rest = rest[cut:]
	}
	if err == nil {
		err = j.write(generation, rest)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.fail(err)
		return err
	}
	if j.active = generation; cap(buf) <= backlogLimit {
		j.spare = buf[:0]
	}
	j.written.Store(uint64(pos))
	j.changed.Broadcast()
	return nil
}

func (j *Journal) write(generation uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := j.file.Write(b); err != nil {
		return err
	}
	j.mu.Lock()
	j.sizes[generation] += int64(len(b))
	j.mu.Unlock()
	return nil
}

// beginGeneration makes the log so far safe and goes on in a new one, so that only the newest log can have a torn tail.
func (j *Journal) beginGeneration(generation uint64) error {
	if err := j.file.Sync(); err != nil {
		return err
	}
	f, err := createLog(j.dir, generation)
	if err != nil {
		return err
	}
	j.retired = append(j.retired, j.file)
	j.file = f
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
