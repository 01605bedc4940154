package stack

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Child is a stack that was started in the background.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// StartDetached runs this program again with the given arguments, in a session
// of its own, its output in LogPath(dir). args[0] is the program's name.
func StartDetached(dir string, args []string, env ...string) (*Child, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(LogPath(dir), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &Child{cmd, make(chan struct{})}
	// The goroutine ends with the child or with this process, whichever is first.
	go func() {
		defer close(c.done)
		_ = cmd.Wait()
	}()
	return c, nil
}

// Ended reports whether the child has ended, and with which exit code.
func (c *Child) Ended() (code int, ended bool) {
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode(), true
	default:
		return 0, false
	}
}

// Kill ends a child that is still running and waits for it.
func (c *Child) Kill() error {
	if _, ended := c.Ended(); ended {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-c.done
	return nil
}

// Stop asks a running stack to end. It returns at once.
func Stop(s State) error {
	p, err := os.FindProcess(s.PID)
	if err != nil {
		return err
	}
	return p.Signal(syscall.SIGTERM)
}
