//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package journal

import (
	"os"
	"path/filepath"
)

// lockDir opens the lock file. Where flock is missing it keeps nobody out; the listening port does, as a rule.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}

// syncDir does nothing: directories cannot be synced here, and names are as durable as the file system makes them.
func syncDir(string) error { return nil }
