// Command pulsectl runs, inspects and verifies transactional messaging.
package main

import (
	"context"
	"os"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
)

func main() {
	ctx, stop := command.WithSignals(context.Background())
	code := command.Run(ctx, os.Args, console.System(os.Getenv), os.Getenv)
	stop()
	os.Exit(code)
}
