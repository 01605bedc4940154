//go:build unix

// Command serve runs the development broker as a separate process, for the test
// suites of clients. SIGUSR1 blocks publishers as an alarm does, SIGUSR2
// unblocks them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := devbroker.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&cfg.Addr, "addr", "127.0.0.1:5672", "`host:port` to listen on")
	flag.StringVar(&cfg.ManagementAddr, "management", "", "`host:port` of the management API; empty: none")
	flag.StringVar(&cfg.DataDir, "data", "", "`directory` of durable queues and persistent messages; empty: in memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := devbroker.Start(ctx, cfg)
	if err != nil {
		return err
	}
	alarm := make(chan os.Signal, 1)
	signal.Notify(alarm, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		select {
		case s := <-alarm:
			if s == syscall.SIGUSR1 {
				err = b.Inject(devbroker.Fault{Kind: devbroker.FaultBlockPublishers})
			} else {
				err = b.Clear(devbroker.FaultBlockPublishers)
			}
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return b.Close()
		case <-b.Done():
			return b.Err()
		}
	}
}
