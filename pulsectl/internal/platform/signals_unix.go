//go:build unix

package platform

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// OwnGroup gives a command that is about to start a process group of its own: Ctrl-C
// on the terminal does not reach it.
func OwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Detach gives a command that is about to start a session of its own: it outlives
// the terminal.
func Detach(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return nil
}

// Interrupt sends SIGINT to all processes of a command in a group of its own.
func Interrupt(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }

// Terminate asks a process to end, by SIGTERM.
func Terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// Pause stops a process until Resume.
func Pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a process that is paused go on.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// AddressInUse reports whether err says that something else listens there.
func AddressInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// Tell writes to an inherited file descriptor, if it is a pipe.
func Tell(fd int, text []byte) {
	var info syscall.Stat_t
	if syscall.Fstat(fd, &info) != nil || info.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return
	}
	_, _ = syscall.Write(fd, text)
}
