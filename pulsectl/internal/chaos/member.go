package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

const (
	startLimit = 2 * time.Minute // until a process serves, on a busy machine
	stopLimit  = 2 * time.Minute // until it has ended when asked to
	againAfter = 500 * time.Millisecond
)

// member is one process of a run, which is started again and again.
type member struct {
	name    string
	config  process.Config
	command func() *exec.Cmd
	log     *os.File
	// crashed is called when the process ends by itself after it has lived for some
	// time, and reports whether it is to be started again, as by a supervisor.
	crashed func(how string, lived time.Duration) (again bool)
	// started, if not nil, is called with what the process said once it serves.
	started func(process.Ready)

	mu      sync.Mutex
	running *running // nil: it is down
	down    bool     // on purpose
	closed  chan struct{}
	again   sync.WaitGroup // what starts it again
}

// running is one life of a member.
type running struct {
	cmd      *exec.Cmd
	began    time.Time
	input    io.WriteCloser // its end tells the process to end
	expected bool           // its end is; guarded by the member's lock
	ready    chan process.Ready
	said     chan struct{} // closed when it is ready
	ended    chan struct{}
	err      error
}

func newMember(name string, c process.Config, dir string, command func() *exec.Cmd) (*member, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &member{name: name, config: c, command: command, log: log, closed: make(chan struct{})}, nil
}

// start starts the process, and waits until it serves if it says so.
func (m *member) start(ctx context.Context) error {
	r, err := m.launch()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if m.started == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it has not started within %v", startLimit))
	defer cancel()
	select {
	case ready := <-r.ready:
		m.started(ready)
		return nil
	case <-r.ended:
		return fmt.Errorf("%s has ended: %v; see %s", m.name, r.err, m.log.Name())
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", m.name, context.Cause(ctx))
	}
}

func (m *member) launch() (*running, error) {
	text, err := json.Marshal(m.config)
	if err != nil {
		return nil, err
	}
	r := &running{cmd: m.command(), ready: make(chan process.Ready, 1), said: make(chan struct{}), ended: make(chan struct{})}
	r.cmd.Env = append(r.cmd.Environ(), process.Variable+"="+string(text))
	r.cmd.Stderr = m.log
	// A group of its own: Ctrl-C is for the parent, which ends the others in order.
	platform.OwnGroup(r.cmd)
	output, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if r.input, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	m.running, m.down, r.began = r, false, time.Now()
	go m.watch(r, output)
	return r, nil
}

// watch ends with the process.
func (m *member) watch(r *running, output io.Reader) {
	var ready process.Ready
	lines := json.NewDecoder(output)
	if lines.Decode(&ready) == nil {
		r.ready <- ready
		close(r.said)
	}
	_, _ = io.Copy(io.Discard, output)
	r.err = r.cmd.Wait()
	m.mu.Lock()
	expected := r.expected
	if m.running == r {
		m.running = nil
	}
	m.mu.Unlock()
	close(r.ended)
	if !expected {
		how := "exit code 0"
		if r.err != nil {
			how = r.err.Error()
		}
		if m.crashed(how, time.Since(r.began)) {
			m.restart()
		}
	}
}

// restart starts the process again after a pause, unless it is down on purpose then.
func (m *member) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return
	}
	m.again.Go(func() {
		timer := time.NewTimer(againAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.closed:
			return
		}
		m.mu.Lock()
		wanted := !m.down && m.running == nil
		m.mu.Unlock()
		if wanted {
			if _, err := m.launch(); err != nil {
				m.crashed(err.Error(), 0)
			}
		}
	})
}

// life returns the process, if it runs. Its end is expected from now on if ends.
func (m *member) life(ends bool) *running {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ends {
		m.down = true
		if m.running != nil {
			m.running.expected = true
		}
	}
	return m.running
}

// kill is kill -9. It returns when the process is gone.
func (m *member) kill() {
	if r := m.life(true); r != nil {
		_ = r.cmd.Process.Kill() // it may have ended by itself
		<-r.ended
	}
}

// signal gives the process to send, such as platform.Pause, if it runs.
func (m *member) signal(send func(*os.Process) error) error {
	r := m.life(false)
	if r == nil {
		return nil
	}
	if err := send(r.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// stop asks the process to end, and waits for it. One that does not end in time is
// killed, which is an error, as is an exit code that is not 0.
func (m *member) stop() error {
	r := m.life(true)
	if r == nil {
		return nil
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	_ = platform.Resume(r.cmd.Process)
	select { // before, the signal would kill it
	case <-r.said:
	case <-r.ended:
	case <-limit.C:
	}
	_ = platform.Terminate(r.cmd.Process)
	select {
	case <-r.ended:
	case <-limit.C:
		m.kill()
		return fmt.Errorf("%s has not ended within %v of SIGTERM", m.name, stopLimit)
	}
	if r.err != nil {
		return fmt.Errorf("%s ended with %w; see %s", m.name, r.err, m.log.Name())
	}
	return nil
}

func (m *member) close() {
	m.kill()
	close(m.closed)
	m.again.Wait()
	m.kill() // it may have been about to start again
	_ = m.log.Close()
}
