// Package messages implements the commands about orders and their messages:
// order, notification, outbox, inbox, trace, replay, migrate and broker.
package messages

import (
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// Commands returns them in the order of the help.
func Commands(e *env.Env) []*cli.Command {
	return []*cli.Command{
		orderCommand(e), notificationCommand(e), outboxCommand(e), inboxCommand(e),
		traceCommand(e, "why"), replayCommand(e), migrateCommand(e), brokerCommand(e),
	}
}
