//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"syscall"
)

// isFull reports whether a write failed for lack of space, which may be
// temporary.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Space returns the free space for this user and the size of the file system of
// dir, in bytes; ok is false if they are unknown.
func Space(dir string) (free, size int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, false
	}
	block := int64(s.Bsize)
	return int64(s.Bavail) * block, int64(s.Blocks) * block, true
}
