package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
)

// Snapshot is a compaction in progress: it receives the records that replace
// everything appended before it began.
type Snapshot struct {
	j          *Journal
	generation uint64
	from       Position // the snapshot contains what was appended before
	tmp        string
	file       *os.File
	w          *bufio.Writer
	buf        []byte
	size       int64
}

// BeginSnapshot starts a new generation: records appended so far belong to the
// old ones, later ones to the new one. The caller must collect its state at the
// same moment, without appends of its own, and can write it to the snapshot
// afterwards. One snapshot may be in progress at a time. The caller ends it
// with Commit or Abort.
func (j *Journal) BeginSnapshot() (*Snapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return nil, j.err
	case j.closed:
		return nil, ErrClosed
	case j.rotateAt >= 0 && !j.full: // on a full disk it may belong to an aborted one
		return nil, errors.New("journal: a snapshot is already under way")
	}
	j.rotateAt = len(j.pending)
	j.changed.Broadcast()
	generation := j.active + 1
	return &Snapshot{j: j, generation: generation, from: j.appended, tmp: snapshotPath(j.dir, generation) + ".tmp"}, nil
}

// Append adds a record.
func (s *Snapshot) Append(record []byte) (err error) {
	if s.file == nil {
		if s.file, err = os.OpenFile(s.tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		s.w = bufio.NewWriterSize(s.file, 256<<10)
		s.size = int64(len(fileMagic))
		if _, err = s.w.WriteString(fileMagic); err != nil {
			return err
		}
	}
	s.buf = appendRecord(s.buf[:0], record)
	s.size += int64(len(s.buf))
	_, err = s.w.Write(s.buf)
	return noRoom(err)
}

// Commit makes the snapshot durable and deletes the generations that it replaces.
func (s *Snapshot) Commit() error {
	err := s.Append([]byte(snapshotEnd))
	if err == nil {
		err = s.w.Flush()
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		err = s.awaitGeneration()
	}
	if errors.Is(err, ErrFull) {
		err = s.overtake()
	} else if err == nil {
		err = s.rename()
	}
	if err != nil {
		s.Abort()
		return noRoom(err)
	}
	s.j.mu.Lock()
	for generation := range s.j.sizes {
		if generation < s.generation {
			delete(s.j.sizes, generation)
		}
	}
	s.j.sizes[s.generation] += s.size
	s.j.mu.Unlock()
	return s.j.removeBefore(s.generation)
}

// rename makes the snapshot valid.
func (s *Snapshot) rename() error {
	return errors.Join(os.Rename(s.tmp, snapshotPath(s.j.dir, s.generation)), syncDir(s.j.dir), s.file.Close())
}

// overtake makes the snapshot valid although the log before it lacks records,
// for which there is no space: they are in the snapshot. Then what it replaces
// is deleted, which frees space.
func (s *Snapshot) overtake() error {
	j := s.j
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	begun := j.active >= s.generation // there was space for a moment
	j.mu.Unlock()
	if begun {
		return s.rename()
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	f, err := createLog(j.dir, s.generation)
	if err != nil {
		return err
	}
	if err := s.rename(); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	j.retired = append(j.retired, j.file)
	j.file, j.whole = f, int64(len(fileMagic))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = j.pending[len(j.pending)-int(j.appended-s.from):]
	j.active, j.rotateAt = s.generation, -1
	j.sizes[s.generation] += int64(len(fileMagic))
	j.synced = max(j.synced, s.from)
	j.written.Store(max(j.written.Load(), uint64(s.from)))
	j.retry = true
	j.changed.Broadcast()
	return nil
}

// noRoom converts the error of a full disk to ErrFull.
func noRoom(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Abort discards the snapshot; the generations so far stay valid.
func (s *Snapshot) Abort() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.tmp)
	}
}

// awaitGeneration waits until the log that follows the snapshot exists.
func (s *Snapshot) awaitGeneration() error {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	for s.j.active < s.generation && s.j.err == nil {
		if s.j.full {
			return ErrFull
		}
		s.j.changed.Wait()
	}
	return s.j.err
}
