package journal

import (
	"fmt"
	"path/filepath"

	"github.com/gofrs/flock"
)

// lockDir locks the directory for this process. The lock ends with the process,
// however it ends.
func lockDir(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "lock"))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, err
	case !locked:
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	return lock, nil
}
