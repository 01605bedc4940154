// Package program is the way every example service becomes a program.
package program

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	succeeded = 0 // ended by a signal, in order; or healthy
	failed    = 1
	misused   = 2 // settings or arguments are wrong
)

// Service is what a program runs.
type Service interface {
	Run(ctx context.Context, ln net.Listener) error
}

// Config is what a service is built from.
type Config interface {
	// ListenAddr is where the service serves HTTP, as host:port.
	ListenAddr() string
}

// Run is the whole of a program. Without arguments it reads the settings of
// the service of that name from the environment, builds it, runs it until
// SIGINT or SIGTERM, and returns the exit code. A second signal ends the
// process at once.
//
// With the one argument healthcheck it asks the running service beside it
// whether it is ready, and returns 0 if so and 1 if not: a container's image
// needs nothing else for that.
func Run[C Config, S Service](name string, load func(func(string) (string, bool), io.Writer) (C, error), build func(C) (S, error)) int {
	args := os.Args[1:]
	checking := len(args) == 1 && args[0] == "healthcheck"
	if len(args) > 0 && !checking {
		fmt.Fprintf(os.Stderr, "usage: %s [healthcheck]\n", name)
		return misused
	}
	cfg, err := load(os.LookupEnv, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: settings:\n%v\n", name, err)
		return misused
	}
	if checking {
		return checkHealth(cfg.ListenAddr(), os.Stderr)
	}
	service, err := build(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return misused
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := service.Run(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return failed
	}
	return succeeded
}
