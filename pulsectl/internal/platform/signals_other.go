//go:build !unix

package platform

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// OwnGroup does nothing: Ctrl-C reaches all processes of a console.
func OwnGroup(*exec.Cmd) {}

// Detach fails.
func Detach(*exec.Cmd) error { return unsupported("run in the background") }

// Interrupt ends the command at once.
func Interrupt(cmd *exec.Cmd) error { return cmd.Process.Kill() }

// Terminate ends a process at once.
func Terminate(p *os.Process) error { return p.Kill() }

// Pause fails.
func Pause(*os.Process) error { return unsupported("pause a process") }

// Resume does nothing: no process is paused.
func Resume(*os.Process) error { return nil }

// AddressInUse reports whether err says that something else listens there: syscall's
// constant is not what Windows returns.
func AddressInUse(err error) bool {
	const wsaeaddrinuse = syscall.Errno(10048)
	return errors.Is(err, wsaeaddrinuse)
}

// Tell does nothing: nothing is detached.
func Tell(int, []byte) {}

// unsupported is what fails on systems without signals.
func unsupported(what string) error {
	return fmt.Errorf("%s: %w on %s", what, errors.ErrUnsupported, runtime.GOOS)
}
