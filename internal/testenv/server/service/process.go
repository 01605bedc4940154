package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// MarkVariable is set in the environment of every process started here, to the
// directory it serves: with it a later keeper finds the processes of a killed
// one.
const MarkVariable = "PULSE_TESTENV_SERVER"

// account is the user that servers run as; nil means the user of this process.
type account struct {
	uid, gid int
	name     string
	root     string // of the file system; "" means that of this process
}

// accountFor returns the named system user if this process is root, which has
// to drop its privileges. The error says that there is no such user.
func accountFor(name string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &account{uid: uid, gid: gid, name: name}, nil
}

// fileSystem returns the root of the file system that the account's processes see.
func (a *account) fileSystem() string {
	if a == nil || a.root == "" {
		return "/"
	}
	return a.root
}

// makeDir creates a private directory that belongs to the account.
func (a *account) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return a.own(dir)
}

// writeFile writes a private file that belongs to the account.
func (a *account) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return a.own(path)
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// command prepares a process of the account in a new session, with a small
// environment.
func (a *account) command(dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.Getenv("PATH"),
		"HOME=" + dir,
		"LC_ALL=C.UTF-8",
		MarkVariable + "=" + dir,
	}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		cmd.SysProcAttr.Chroot = a.root
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return cmd
}

// processes implements machine for a server that runs from binaries. All its
// files are in dir.
type processes struct {
	dir       string
	command   func() *exec.Cmd
	tool      func(command []string) *exec.Cmd // runs a command-line tool of the server
	graceful  syscall.Signal
	immediate syscall.Signal // 0: the server has no immediate shutdown

	beside []*exec.Cmd // started before the server and stopped with its data

	pid  int
	done chan struct{}
}

func (p *processes) logPath() string { return filepath.Join(p.dir, "server.log") }

func (p *processes) logTail() string { return tail(p.logPath()) }

func (p *processes) exited() <-chan struct{} { return p.done }

func (p *processes) start(context.Context) error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid, p.done = cmd.Process.Pid, reap(cmd)
	return nil
}

// startBeside starts a process that the server needs.
func (p *processes) startBeside(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	p.beside = append(p.beside, cmd)
	reap(cmd)
	return nil
}

// reap waits for a process and closes the channel when it has ended. Its log
// tells how it ended.
func reap(cmd *exec.Cmd) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	return done
}

func (p *processes) stop(_ context.Context, how protocol.Manner) error {
	switch {
	case how == protocol.Graceful:
		return signalGroup(p.pid, p.graceful)
	case how == protocol.Immediate && p.immediate != 0:
		return signalGroup(p.pid, p.immediate)
	case how == protocol.Kill:
		return killTree(p.pid)
	}
	return fmt.Errorf("%s: this server cannot be ended that way", how)
}

func (p *processes) run(ctx context.Context, command []string) (string, error) {
	cmd := p.tool(command)
	defer context.AfterFunc(ctx, func() { _ = signalGroup(cmd.Process.Pid, syscall.SIGKILL) })()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p *processes) remove() error {
	var problems []error
	if p.done != nil {
		select {
		case <-p.done:
		default:
			problems = append(problems, killTree(p.pid))
			<-p.done
		}
	}
	for _, cmd := range p.beside {
		problems = append(problems, signalGroup(cmd.Process.Pid, syscall.SIGKILL))
	}
	return errors.Join(append(problems, os.RemoveAll(p.dir))...)
}

// signalGroup signals a process group; it is not an error if the group has
// ended.
func signalGroup(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(-pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process group %d: %w", sig, pid, err)
	}
	return nil
}
