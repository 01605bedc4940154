package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Alive reports whether a process runs. One that has ended and is not yet
// collected by its parent does not, where /proc tells. (Package gopsutil would
// tell it elsewhere as well, but what the libraries' tests import is in the
// go.sum of their users.)
func Alive(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The command's name is in parentheses and may contain anything; the state
	// is the letter behind it.
	_, state, found := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), ") ")
	return !found || !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
