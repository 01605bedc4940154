// Package keeperclient shares real servers between the test processes of a run.
//
// go test runs one process per package, several at a time. The first that needs
// a server builds and starts the keeper, the program in ../../server, which
// runs in the background and owns all servers. Every user of the servers holds
// a lock file; when no process has held it for some seconds, the keeper stops
// the servers, deletes their data and exits. The lock is released when its
// holder ends, so a killed test leaves nothing behind.
package keeperclient

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Client is a process's connection to the keeper.
type Client struct {
	dir  string
	lock *flock.Flock // held until the process ends
}

var join = sync.OnceValues(func() (*Client, error) {
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

// Join connects this process to the keeper, and starts one if there is none.
func Join() (*Client, error) { return join() }

// Find returns the source of a server of this kind, without starting any. The
// error matches protocol.ErrUnavailable. Whether an image for Docker can be
// pulled is only known when it is needed.
func (c *Client) Find(kind protocol.Kind) (string, error) {
	rep, err := c.ask(protocol.Request{Op: protocol.Find, Kind: kind})
	return rep.Source, err
}

// Docker returns an error if no Docker daemon answers.
func (c *Client) Docker() error {
	_, err := c.ask(protocol.Request{Op: protocol.Docker})
	return err
}

// Pull pulls an image that the Docker daemon does not have.
func (c *Client) Pull(image string) error {
	_, err := c.ask(protocol.Request{Op: protocol.Pull, Image: image})
	return err
}

// Share returns the server of this kind that all processes share. The error
// matches protocol.ErrUnavailable if the machine has no source for it.
func (c *Client) Share(kind protocol.Kind) (protocol.Endpoints, error) {
	rep, err := c.ask(protocol.Request{Op: protocol.Share, Kind: kind})
	return rep.Endpoints, err
}

// Make starts a server for this process only.
func (c *Client) Make(kind protocol.Kind) (*Server, error) {
	rep, err := c.ask(protocol.Request{Op: protocol.Make, Kind: kind, Owner: os.Getpid()})
	if err != nil {
		return nil, err
	}
	return &Server{Endpoints: rep.Endpoints, client: c, id: rep.ID}, nil
}

// MakeCluster starts a RabbitMQ cluster of n nodes for this process only.
func (c *Client) MakeCluster(n int) ([]*Server, error) {
	rep, err := c.ask(protocol.Request{Op: protocol.Group, Nodes: n, Owner: os.Getpid()})
	if err != nil {
		return nil, err
	}
	var servers []*Server
	for _, m := range rep.Members {
		servers = append(servers, &Server{Endpoints: m.Endpoints, client: c, id: m.ID})
	}
	return servers, nil
}

// Server is a private server.
type Server struct {
	protocol.Endpoints
	client *Client
	id     string
}

// Start starts the server again and returns once it answers.
func (s *Server) Start() error { return s.do(protocol.Request{Op: protocol.Start}) }

// Stop stops the server and keeps its data.
func (s *Server) Stop(how protocol.Manner) error {
	return s.do(protocol.Request{Op: protocol.Stop, How: how})
}

// Eval returns the value of an Erlang expression in a RabbitMQ server.
func (s *Server) Eval(text string) (string, error) {
	rep, err := s.client.ask(protocol.Request{Op: protocol.Eval, ID: s.id, Text: text})
	return rep.Text, err
}

// Remove stops the server and deletes its data.
func (s *Server) Remove() error { return s.do(protocol.Request{Op: protocol.Remove}) }

func (s *Server) do(req protocol.Request) error {
	req.ID = s.id
	_, err := s.client.ask(req)
	return err
}

// StartCommand returns a shell command that does what Start does. It works
// while this process lives.
func (s *Server) StartCommand() string { return s.command(protocol.Start) }

// StopCommand returns a shell command that does what Stop does.
func (s *Server) StopCommand(how protocol.Manner) string {
	return s.command(protocol.Stop, string(how))
}

// EvalCommand returns a shell command that does what Eval does.
func (s *Server) EvalCommand(text string) string { return s.command(protocol.Eval, text) }

func (s *Server) command(op protocol.Operation, args ...string) string {
	words := append([]string{s.client.program(), "control", s.client.socket(), s.id, string(op)}, args...)
	for i, word := range words {
		words[i] = shellQuote(word)
	}
	return strings.Join(words, " ")
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ensureKeeper starts the keeper unless one answers.
func (c *Client) ensureKeeper() error {
	starting := flock.New(filepath.Join(c.dir, "starting"))
	if err := starting.Lock(); err != nil {
		return err
	}
	defer starting.Close()
	if _, err := c.ask(protocol.Request{Op: protocol.Ping}); err == nil {
		return nil
	}
	if err := c.build(); err != nil {
		return err
	}
	logPath := filepath.Join(c.dir, "keeper.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program(), "keep", c.dir)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start keeper: %w", err)
	}
	pid := cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && host.Alive(pid); time.Sleep(10 * time.Millisecond) {
		if _, err := c.ask(protocol.Request{Op: protocol.Ping}); err == nil {
			return nil
		}
	}
	text, err := os.ReadFile(logPath)
	return errors.Join(fmt.Errorf("keeper does not answer; its log:\n%s", text), err)
}

// build builds the keeper's program, which is a separate module. Go's cache
// makes all but the first build fast.
func (c *Client) build() error {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/asimalizada/pulse-events/internal/testenv").Output()
	if err != nil {
		return fmt.Errorf("find the keeper's program (go list): %w", err)
	}
	cmd := exec.Command("go", "build", "-o", c.program(), ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(dir)), "server")
	// A workspace, or flags for the caller's module, do not apply to it.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the keeper's program in %s: %w\n%s", cmd.Dir, err, out)
	}
	return nil
}

func (c *Client) program() string { return filepath.Join(c.dir, "keeper") }

func (c *Client) socket() string { return protocol.Socket(c.dir) }

func (c *Client) ask(req protocol.Request) (protocol.Reply, error) {
	return protocol.Ask(c.socket(), req)
}

// directory returns the directory shared by the processes of one user. Runs
// with other sources have another one.
func directory() (string, error) {
	choice := fnv.New32a()
	for _, name := range []string{protocol.PostgresImageVariable, protocol.RabbitMQImageVariable,
		protocol.PostgresBinVariable, protocol.RabbitMQRootVariable, protocol.RequireVariable, "DOCKER_HOST"} {
		fmt.Fprintf(choice, "%s=%s\n", name, os.Getenv(name))
	}
	base := os.TempDir()
	if os.Geteuid() == 0 && !open(base) {
		base = "/tmp" // servers run as other users and need access
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, fmt.Sprintf("pulse-testenv%s-%d-%x", protocol.Version, os.Geteuid(), choice.Sum32()))
	if longest := len(filepath.Join(dir, "shared-postgres", ".s.PGSQL.12345.lock")); longest > 100 {
		return "", fmt.Errorf("TMPDIR %s is too long for the names of Unix sockets; set a shorter one", base)
	}
	return dir, nil
}

// open reports whether every user can enter a directory.
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
