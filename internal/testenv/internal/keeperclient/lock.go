package keeperclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Every process that uses the servers holds the lock file shared as long as it
// lives, however it ends; the keeper locks it exclusively before it cleans up.

// lockShared opens the lock file of dir, creating both if needed, and locks it
// shared. It waits while a keeper cleans up.
func lockShared(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, "lock")
	for {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
		lock := flock.New(path)
		err := lock.RLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted between the two calls
		}
		if err != nil {
			return nil, err
		}
		// The keeper that held it may have deleted it: then it protects
		// nothing.
		mine, err := lock.Stat()
		if err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return lock, nil
		}
		if err := lock.Close(); err != nil {
			return nil, err
		}
	}
}

// ownDir returns an error for a directory that belongs to another user.
func ownDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !mine(info) {
		return fmt.Errorf("%s belongs to another user; remove it or set TMPDIR", dir)
	}
	return nil
}
