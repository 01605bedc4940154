//go:build !unix

package host

import "os"

// gone reports whether there is no process of this number.
func gone(pid int) bool {
	p, err := os.FindProcess(pid)
	if err == nil {
		_ = p.Release()
	}
	return err != nil
}
