// Command pulsectl runs, inspects and proves transactional messaging.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := command.Run(ctx, os.Args, console.System(os.Getenv), os.Getenv)
	stop()
	os.Exit(code)
}
