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
	succeeded = 0 // ended by a signal, in order
	failed    = 1
	misused   = 2 // settings are wrong
)

// Service is what a program runs.
type Service interface {
	Run(ctx context.Context, ln net.Listener) error
}

// Run reads the settings of the service of that name from the environment,
// builds it, runs it until SIGINT or SIGTERM, and returns the exit code. A
// second signal ends the process at once.
func Run[C any, S Service](name string, load func(func(string) (string, bool), io.Writer) (C, error), build func(C) (S, error)) int {
	cfg, err := load(os.LookupEnv, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: settings:\n%v\n", name, err)
		return misused
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
