package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Alive reports whether a process runs. One that has ended and is not yet
// collected by its parent does not.
func Alive(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	state, _, ok := Stat(pid)
	return !ok || state != 'Z' && state != 'X'
}

// Stat reads a process's state letter and its parent from /proc; ok is false
// where there is no such process or no /proc.
func Stat(pid int) (state byte, ppid int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	// The command's name is in parentheses and may contain anything.
	_, rest, found := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 2 {
		return 0, 0, false
	}
	ppid, err = strconv.Atoi(fields[1])
	return fields[0][0], ppid, err == nil
}
