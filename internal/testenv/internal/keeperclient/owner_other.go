//go:build !unix

package keeperclient

import (
	"io/fs"
	"syscall"
)

// mine is true: the directory is below the user's own one for temporary files.
func mine(fs.FileInfo) bool { return true }

// ownSession is for Unix.
func ownSession() *syscall.SysProcAttr { return nil }
