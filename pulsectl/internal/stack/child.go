package stack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

// Child is a stack that runs in the background.
type Child struct {
	cmd    *exec.Cmd
	report []byte // complete once done is closed
	done   chan struct{}
}

const (
	// reportFD is the file descriptor of a child's pipe for its report.
	reportFD = 3
	// maxReport limits a report.
	maxReport = 64 << 10
	// killAfter is how long a child may take to end when asked to.
	killAfter = 15 * time.Second
)

// StartDetached runs this program again with the given arguments, in a new
// session, with its output in LogPath(dir). args[0] is the program's name.
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
	reports, report, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	cmd := exec.Command(self, args[1:]...)
	cmd.ExtraFiles = []*os.File{report}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	if err := platform.Detach(cmd); err != nil {
		return nil, errors.Join(err, reports.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, reports.Close())
	}
	c := &Child{cmd: cmd, done: make(chan struct{})}
	// The goroutine ends with the child or with this process, whichever is first.
	go func() {
		defer close(c.done)
		defer reports.Close()
		c.report, _ = io.ReadAll(io.LimitReader(reports, maxReport))
		_ = cmd.Wait()
	}()
	return c, nil
}

// Ended reports whether the child has ended, its exit code, and its report,
// which is empty if the child could not send one.
func (c *Child) Ended() (code int, report []byte, ended bool) {
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode(), c.report, true
	default:
		return 0, nil, false
	}
}

// Kill ends a running child and waits for it.
func (c *Child) Kill() error {
	if err := platform.Terminate(c.cmd.Process); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(killAfter):
	}
	err := c.cmd.Process.Kill()
	<-c.done
	return err
}

// Report sends the reason for the end of this process to the process that
// started it in the background, if there is one.
func Report(text []byte) { platform.Tell(reportFD, text) }

// stop asks the process of a running stack to end. It does not wait.
func stop(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return platform.Terminate(p)
}
