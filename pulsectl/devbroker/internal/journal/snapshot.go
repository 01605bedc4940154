package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
)

// Snapshot is a compaction under way: it takes the records that replace everything appended before it began.
type Snapshot struct {
	j          *Journal
	generation uint64
	from       Position // what was appended before is in the snapshot
	tmp        string
	file       *os.File
	w          *bufio.Writer
	buf        []byte
	size       int64
}

// BeginSnapshot starts a new generation: what was appended so far belongs to the old ones, what is appended from now
// on to the new one. The caller must collect its state at the same moment, holding off its own appends, and may write
// it into the snapshot afterwards at leisure. One snapshot may be under way at a time. The caller ends it with Commit
// or Abort.
func (j *Journal) BeginSnapshot() (*Snapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return nil, j.err
	case j.closed:
		return nil, ErrClosed
	case j.rotateAt >= 0 && !j.full: // on a full disk it may be that of one that was given up
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
	s.buf = appendFrame(s.buf[:0], record)
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

// rename puts the snapshot in charge.
func (s *Snapshot) rename() error {
	return errors.Join(os.Rename(s.tmp, snapshotPath(s.j.dir, s.generation)), syncDir(s.j.dir), s.file.Close())
}

// overtake puts the snapshot in charge although the log before it lacks records, for which there is no room: they are in
// the snapshot. What it replaces is then deleted, which makes room.
func (s *Snapshot) overtake() error {
	j := s.j
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	begun := j.active >= s.generation // there was room for a moment
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

// noRoom makes a full disk known as such.
func noRoom(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Abort gives the snapshot up; the generations so far stay in charge.
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
