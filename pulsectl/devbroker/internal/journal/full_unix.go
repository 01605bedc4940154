//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"syscall"
)

// isFull tells whether a write failed for lack of room, which may come back.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Space returns how much room the file system of dir has for us, and how large it is, in bytes; ok is false where that
// cannot be known.
func Space(dir string) (free, size int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, false
	}
	block := int64(s.Bsize)
	return int64(s.Bavail) * block, int64(s.Blocks) * block, true
}
