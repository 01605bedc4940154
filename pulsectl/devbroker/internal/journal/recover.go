package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// recover replays the directory and opens the newest log for appending.
func (j *Journal) recover(replay func([]byte) error) error {
	logs, snapshots, err := j.scan()
	if err != nil {
		return err
	}
	first := uint64(1)
	if len(snapshots) > 0 {
		first = slices.Max(snapshots)
		if err := j.replaySnapshot(first, replay); err != nil {
			return err
		}
	}
	if err := j.removeBefore(first); err != nil {
		return err
	}
	logs = slices.DeleteFunc(logs, func(g uint64) bool { return g < first })
	slices.Sort(logs)
	if len(logs) == 0 && len(snapshots) == 0 {
		if err := j.create(first); err != nil {
			return err
		}
		j.active, j.sizes[first] = first, int64(len(fileMagic))
		return nil
	}
	for i, generation := range logs {
		if generation != first+uint64(i) {
			return fmt.Errorf("%s is missing: the data directory is incomplete", logPath(j.dir, first+uint64(i)))
		}
		if err := j.replayLog(generation, i == len(logs)-1, replay); err != nil {
			return err
		}
	}
	if len(logs) == 0 {
		return fmt.Errorf("%s is missing: the data directory is incomplete", logPath(j.dir, first))
	}
	return nil
}

// scan lists the generations and removes files that a crash left incomplete.
func (j *Journal) scan() (logs, snapshots []uint64, err error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, ".snapshot.tmp") {
			if err := os.Remove(filepath.Join(j.dir, name)); err != nil {
				return nil, nil, err
			}
			continue
		}
		stem, suffix, _ := strings.Cut(name, ".")
		generation, err := strconv.ParseUint(stem, 10, 64)
		if err != nil {
			continue
		}
		switch suffix {
		case "journal":
			logs = append(logs, generation)
		case "snapshot":
			snapshots = append(snapshots, generation)
		}
	}
	return logs, snapshots, nil
}

func (j *Journal) replaySnapshot(generation uint64, replay func([]byte) error) error {
	path := snapshotPath(j.dir, generation)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	j.sizes[generation] += int64(len(b))
	rest, ok := bytes.CutPrefix(b, []byte(fileMagic))
	for ok {
		record, after, err := nextRecord(rest)
		if err != nil {
			break
		}
		if string(record) == snapshotEnd {
			return nil
		}
		if err := replay(record); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		rest = after
	}
	return fmt.Errorf("%s at byte %d: %w", path, len(b)-len(rest), errDamaged)
}

// replayLog replays one log. Only the newest may end in a torn record, which
// was never confirmed: it is cut off, and the log stays open for appending.
func (j *Journal) replayLog(generation uint64, newest bool, replay func([]byte) error) error {
	path := logPath(j.dir, generation)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(b, []byte(fileMagic))
	if !ok && !(newest && strings.HasPrefix(fileMagic, string(b))) {
		return fmt.Errorf("%s is not a journal of this program", path)
	}
	for ok && len(rest) > 0 {
		record, after, err := nextRecord(rest)
		if err != nil {
			if newest {
				break
			}
			return fmt.Errorf("%s at byte %d: %w", path, len(b)-len(rest), err)
		}
		if err := replay(record); err != nil {
			return fmt.Errorf("%s at byte %d: %w", path, len(b)-len(rest), err)
		}
		rest = after
	}
	if !ok { // the crash came before the first bytes were written
		rest = nil
	}
	j.sizes[generation] += int64(max(len(b)-len(rest), len(fileMagic)))
	if !newest {
		return nil
	}
	return j.reopen(generation, path, len(b)-len(rest), ok)
}

// reopen opens the newest log for appending, truncated to its whole records.
func (j *Journal) reopen(generation uint64, path string, whole int, started bool) (err error) {
	j.active = generation
	if !started {
		return j.create(generation)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(whole)); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.whole = f, int64(whole)
	return nil
}

// create creates a log.
func (j *Journal) create(generation uint64) error {
	f, err := createLog(j.dir, generation)
	if err != nil {
		return err
	}
	j.file, j.whole = f, int64(len(fileMagic))
	return nil
}

// removeBefore deletes the generations replaced by a snapshot.
func (j *Journal) removeBefore(generation uint64) error {
	logs, snapshots, err := j.scan()
	if err != nil {
		return err
	}
	remove := func(g uint64, path string) {
		if g < generation {
			err = errors.Join(err, os.Remove(path))
		}
	}
	for _, g := range logs {
		remove(g, logPath(j.dir, g))
	}
	for _, g := range snapshots {
		remove(g, snapshotPath(j.dir, g))
	}
	return err
}
