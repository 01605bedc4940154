// Package keeper shares real servers between the test processes of a run.
//
// go test runs one process per package, several at a time. The first that
// needs a server starts a keeper: its own program once more, detached, which
// owns all servers. Everybody who uses them holds a lock file; when nobody
// has held it for some seconds the keeper stops the servers, deletes their
// data and ends. The lock goes with its holder, so a killed test leaves
// nothing behind.
package keeper

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// protocolVersion is part of the directory's name: programs built from other
// versions of this package have a keeper of their own.
const protocolVersion = "1"

// Client is a process's share in the keeper.
type Client struct {
	dir  string
	lock *os.File // held until the process ends
}

var join = sync.OnceValues(func() (*Client, error) {
	if !initialised {
		return nil, errors.New("the process's main function does not call keeper.RunIfAsked (in tests: TestMain does not call testenv.Main)")
	}
	dir, err := directory()
	if err != nil {
		return nil, err
	}
	lock, err := lockShared(dir)
	if err != nil {
		return nil, err
	}
	c := &Client{dir: dir, lock: lock}
	if err := ownDir(dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := c.ensureKeeper(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return c, nil
})

// Join takes this process's share, starting the keeper where there is none.
// The process's main function must have called RunIfAsked.
func Join() (*Client, error) { return join() }

// Share returns the server of this kind that all processes share. The error
// matches service.ErrUnavailable when the machine has no source for it.
func (c *Client) Share(kind service.Kind) (service.Endpoints, error) {
	rep, err := ask(c.socket(), request{Op: opShare, Kind: kind})
	return rep.Endpoints, err
}

// Make makes a server for this process alone.
func (c *Client) Make(kind service.Kind) (*Server, error) {
	rep, err := ask(c.socket(), request{Op: opMake, Kind: kind, Owner: os.Getpid()})
	if err != nil {
		return nil, err
	}
	return &Server{Endpoints: rep.Endpoints, socket: c.socket(), id: rep.ID}, nil
}

// Server is a private server.
type Server struct {
	service.Endpoints
	socket, id string
}

// Start starts it again and returns once it answers.
func (s *Server) Start() error { return s.do(request{Op: opStart}) }

// Stop ends it and keeps its data.
func (s *Server) Stop(how service.Manner) error { return s.do(request{Op: opStop, How: how}) }

// Remove ends it and deletes its data.
func (s *Server) Remove() error { return s.do(request{Op: opRemove}) }

func (s *Server) do(req request) error {
	req.ID = s.id
	_, err := ask(s.socket, req)
	return err
}

// StartCommand is a shell command that does what Start does. It works while
// this process lives.
func (s *Server) StartCommand() (string, error) { return s.command(opStart, "") }

// StopCommand is a shell command that does what Stop does.
func (s *Server) StopCommand(how service.Manner) (string, error) { return s.command(opStop, how) }

func (s *Server) command(op operation, how service.Manner) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	job := strings.Join([]string{controlJob, s.socket, s.id, string(op), string(how)}, "|")
	return jobVariable + "=" + shellQuote(job) + " " + shellQuote(self), nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ensureKeeper starts the keeper unless one answers.
func (c *Client) ensureKeeper() error {
	starting, err := os.OpenFile(filepath.Join(c.dir, "starting"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer starting.Close()
	if err := flock(starting, syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := ask(c.socket(), request{Op: opPing}); err == nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logPath := filepath.Join(c.dir, "keeper.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), jobVariable+"="+keepJob+"|"+c.dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start keeper: %w", err)
	}
	pid := cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && service.Alive(pid); time.Sleep(10 * time.Millisecond) {
		if _, err := ask(c.socket(), request{Op: opPing}); err == nil {
			return nil
		}
	}
	text, err := os.ReadFile(logPath)
	return errors.Join(fmt.Errorf("keeper does not answer; its log:\n%s", text), err)
}

func (c *Client) socket() string { return socketIn(c.dir) }

func socketIn(dir string) string { return filepath.Join(dir, "socket") }

// directory names the place where the processes of one user meet. Runs that
// want other images have another one.
func directory() (string, error) {
	choice := fnv.New32a()
	for _, name := range []string{service.PostgresImageVariable, service.RabbitMQImageVariable, service.RequireVariable, "DOCKER_HOST"} {
		fmt.Fprintf(choice, "%s=%s\n", name, os.Getenv(name))
	}
	base := os.TempDir()
	if os.Geteuid() == 0 && !open(base) {
		base = "/tmp" // servers run as other users and must get there
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, fmt.Sprintf("pulse-testenv%s-%d-%x", protocolVersion, os.Geteuid(), choice.Sum32()))
	if longest := len(filepath.Join(dir, "shared-postgres", ".s.PGSQL.12345.lock")); longest > 100 {
		return "", fmt.Errorf("TMPDIR %s is too long for the names of Unix sockets; set a shorter one", base)
	}
	return dir, nil
}

// open reports whether every user may pass through a directory.
func open(dir string) bool {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
