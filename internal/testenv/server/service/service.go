// Package service runs the servers for tests: PostgreSQL and RabbitMQ, in a
// container if a Docker daemon answers, otherwise from the binaries on this
// machine. It works on Unix only.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

const (
	startLimit = 5 * time.Minute
	stopLimit  = 3 * time.Minute
	evalLimit  = 3 * time.Minute // rabbitmqctl takes seconds of processor time
)

// Instance is one server with its own data. Its methods are safe for concurrent
// use and run one at a time.
type Instance struct {
	protocol.Endpoints

	mu      sync.Mutex
	machine machine
	ready   func(context.Context) error // one attempt to connect to the server
	control []string                    // the command-line tool; nil: none
	running bool
}

// machine runs a server, as processes or as a container.
type machine interface {
	start(ctx context.Context) error
	// exited returns a channel that is closed when the server started last has
	// ended.
	exited() <-chan struct{}
	stop(ctx context.Context, how protocol.Manner) error
	// run runs a program where the server runs, and returns its output.
	run(ctx context.Context, command []string) (string, error)
	// logTail returns the end of the server's output.
	logTail() string
	// remove stops everything that runs and deletes the data.
	remove() error
}

// New starts a server whose files are in dir, which must not exist.
func New(ctx context.Context, kind protocol.Kind, dir string) (*Instance, error) {
	if !slices.Contains(protocol.Kinds, kind) {
		return nil, fmt.Errorf("unknown service %q", kind)
	}
	var container *Instance
	why := errGiven
	if !given(kind) {
		container, why = newContainer(ctx, kind)
	}
	if why == nil {
		container.Source = "docker"
		return container, container.begin(ctx)
	}
	if dockerRequired() {
		return nil, fmt.Errorf("%s from Docker, as %s wants it, %w: %w", kind, protocol.RequireVariable, protocol.ErrUnavailable, why)
	}
	var local *Instance
	var err error
	switch kind {
	case protocol.Postgres:
		local, err = newLocalPostgres(ctx, dir)
	default:
		local, err = newLocalRabbitMQ(dir, kind)
	}
	if errors.Is(err, protocol.ErrUnavailable) {
		return nil, fmt.Errorf("%w, and Docker is no help: %w", err, why)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	local.Source = "binaries"
	if !errors.Is(why, errNoDaemon) && !errors.Is(why, errGiven) {
		local.Notes = append(local.Notes, fmt.Sprintf("Docker answers but could not serve %s (%v); using the binaries of this machine", kind, why))
	}
	return local, local.begin(ctx)
}

// Find returns where New would take the service from, without starting
// anything. The error matches protocol.ErrUnavailable. Whether an image for
// Docker can be pulled is only known when it is needed.
func Find(ctx context.Context, kind protocol.Kind) (string, error) {
	err := errGiven
	if !given(kind) {
		_, err = DockerPool(ctx)
	}
	if err == nil {
		return "Docker, image " + image(kind), nil
	} else if dockerRequired() {
		return "", fmt.Errorf("%s from Docker, as %s wants it, %w: %w", kind, protocol.RequireVariable, protocol.ErrUnavailable, err)
	}
	if kind == protocol.Postgres {
		dir, _, err := localPostgres()
		return dir, err
	}
	r, err := findRabbitMQ()
	if err != nil {
		return "", err
	}
	return filepath.Join(r.user.fileSystem(), r.server), nil
}

// errGiven says that a variable names the binaries.
var errGiven = errors.New("the binaries to run are given")

// given reports whether a variable names the binaries of this kind.
func given(kind protocol.Kind) bool {
	if kind == protocol.Postgres {
		return os.Getenv(protocol.PostgresBinVariable) != ""
	}
	return os.Getenv(protocol.RabbitMQRootVariable) != ""
}

// begin starts a new instance, and removes it if that fails.
func (i *Instance) begin(ctx context.Context) error {
	if err := i.Start(ctx); err != nil {
		return errors.Join(err, i.Remove())
	}
	return nil
}

// Start starts a stopped server and returns once it answers. Starting a
// running one does nothing.
func (i *Instance) Start(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.running {
		select {
		case <-i.machine.exited(): // it ended by itself
		default:
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := i.machine.start(ctx); err != nil {
		return err
	}
	i.running = true
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := i.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-i.machine.exited():
			i.running = false
			return fmt.Errorf("server ended while starting; its last output:\n%s", i.machine.logTail())
		case <-ctx.Done():
			return fmt.Errorf("server does not answer after %v (%w); its last output:\n%s", startLimit, err, i.machine.logTail())
		case <-tick.C:
		}
	}
}

// Stop stops a running server and keeps its data. Stopping a stopped one does
// nothing.
func (i *Instance) Stop(ctx context.Context, how protocol.Manner) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.running {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	if err := i.machine.stop(ctx, how); err != nil {
		return err
	}
	select {
	case <-i.machine.exited():
		i.running = false
		return nil
	case <-ctx.Done():
		return fmt.Errorf("server still runs %v after %s; its last output:\n%s", stopLimit, how, i.machine.logTail())
	}
}

// Eval returns the value of an Erlang expression in a running RabbitMQ.
func (i *Instance) Eval(ctx context.Context, text string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.control == nil {
		return "", errors.New("this server evaluates nothing")
	}
	ctx, cancel := context.WithTimeout(ctx, evalLimit)
	defer cancel()
	out, err := i.machine.run(ctx, append(slices.Clone(i.control), "eval", text))
	if err != nil {
		return "", fmt.Errorf("evaluate %s: %w\n%s", text, err, out)
	}
	return strings.TrimSpace(out), nil
}

// Remove kills the server and deletes its data.
func (i *Instance) Remove() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running = false
	return i.machine.remove()
}

// tail returns the last few lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "(" + filepath.Base(path) + ") " + strings.Join(lines[max(0, len(lines)-25):], "\n")
}
