package host

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Alive reports whether a process runs. Where /proc exists, a process that has
// ended and was not yet reaped by its parent does not. (Package gopsutil
// reports this on other systems too, but what the libraries' tests import is in
// their users' go.sum.)
func Alive(pid int) bool {
	if gone(pid) {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The command's name is in parentheses and may contain any character; the
	// state is the letter after it.
	_, state, found := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), ") ")
	return !found || !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
