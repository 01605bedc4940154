// Package program is the way every example service becomes a program.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/telemetry"
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
	// ServesTLS reports whether that is HTTPS.
	ServesTLS() bool
	// Log is where the service logs.
	Log() *slog.Logger
}

// errTerminated is the cause of a context that an orchestrator has ended.
var errTerminated = errors.New("terminated")

// Run is the whole of a program. Without arguments it reads the settings of
// the service of that name from the environment, builds it, runs it until
// SIGINT or SIGTERM, and returns the exit code. A second signal ends the
// process at once. What the service does is exported as the OTEL_* variables
// tell, and its metrics are served on PULSE_METRICS_ADDR, by default
// metricsAddr.
//
// With the one argument healthcheck it asks the running service beside it
// whether it is ready, and returns 0 if so and 1 if not: a container's image
// needs nothing else for that. With the one argument pending a service that consumes
// prints the messages that wait and that it could not handle; see listPending.
func Run[C Config, S Service](name, metricsAddr string, load func(func(string) (string, bool), io.Writer) (C, error), build func(C) (S, error)) int {
	args := os.Args[1:]
	checking := len(args) == 1 && args[0] == "healthcheck"
	_, consumes := any(*new(S)).(consumer)
	listing := consumes && len(args) == 1 && args[0] == "pending"
	if len(args) > 0 && !checking && !listing {
		usage := "healthcheck"
		if consumes {
			usage += " | pending"
		}
		fmt.Fprintf(os.Stderr, "usage: %s [%s]\n", name, usage)
		return misused
	}
	cfg, err := load(os.LookupEnv, os.Stderr)
	observed, telemetryErr := telemetry.FromEnv(os.LookupEnv, name, metricsAddr)
	if err = errors.Join(err, telemetryErr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: settings:\n%v\n", name, err)
		return misused
	}
	if checking {
		return checkHealth(cfg.ListenAddr(), cfg.ServesTLS(), os.Stderr)
	}
	if listing {
		built, err := build(cfg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return misused
		}
		return listPending(any(built).(consumer), os.Stdout, os.Stderr)
	}
	exports, err := telemetry.Start(context.Background(), observed, cfg.Log().With("service", name))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return failed
	}
	defer exports.Shutdown() // when the service has ended, and said all
	built, err := build(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return misused
	}
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cause := errTerminated
		if <-signals == os.Interrupt {
			cause = service.ErrInterrupted
		}
		signal.Stop(signals) // the next one ends the process
		end(cause)
	}()
	if err := built.Run(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return failed
	}
	return succeeded
}
