//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package journal

import "os"

// syncDir makes names created in or renamed into dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
