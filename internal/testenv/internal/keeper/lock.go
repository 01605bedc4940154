package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// The lock file is what everything hangs on: each process that uses the
// servers holds it shared while it lives, however it ends; the keeper takes
// it alone before it clears up.

// lockShared opens the lock file of dir, making both where they are missing,
// and holds it shared. It waits while a keeper clears up.
func lockShared(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, "lock")
	for {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
		lock := flock.New(path)
		err := lock.RLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue // cleared up between the two calls
		}
		if err != nil {
			return nil, err
		}
		// The keeper that held it may have deleted it: then it guards nothing.
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

// ownDir refuses a directory that another user has put in our place.
func ownDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user; remove it or set TMPDIR", dir)
	}
	return nil
}
