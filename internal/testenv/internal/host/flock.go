package host

import (
	"errors"
	"os"
	"syscall"
)

// Flock locks a file, see flock(2).
func Flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
