package command

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// chaosTimeout bounds one command that stops or starts a broker.
const chaosTimeout = 2 * time.Minute

// harm is what a chaos command did.
type harm struct{ fault, state, command string }

var harmColumns = []console.Column[harm]{
	{Key: "fault", Value: func(h harm) any { return h.fault }, ID: true},
	{Key: "state", Value: func(h harm) any { return h.state }},
	{Key: "command", Value: func(h harm) any { return h.command }, Wide: true},
}

func chaosCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "chaos", Usage: "break things on purpose, to see that nothing is lost",
		Subcommands: []*cli.Command{
			{
				Name: "broker-down", Usage: "stop the broker",
				Flags: []cli.Flag{&cli.StringFlag{Name: "stop-cmd", Usage: "shell `COMMAND` that stops it (env PULSE_BROKER_STOP_CMD)"}},
				Action: func(ctx *cli.Context) error {
					cmd, err := env.setting(ctx.String("stop-cmd"), "PULSE_BROKER_STOP_CMD", func(s stack.State) string { return s.BrokerStopCmd })
					if err != nil {
						return err
					}
					return env.breakBroker(ctx.Context, harm{"broker-down", "stopped", cmd}, "--stop-cmd", "PULSE_BROKER_STOP_CMD", "systemctl stop rabbitmq-server")
				},
			},
			{
				Name: "broker-up", Usage: "start the broker again",
				Flags: []cli.Flag{&cli.StringFlag{Name: "start-cmd", Usage: "shell `COMMAND` that starts it (env PULSE_BROKER_START_CMD)"}},
				Action: func(ctx *cli.Context) error {
					cmd, err := env.setting(ctx.String("start-cmd"), "PULSE_BROKER_START_CMD", func(s stack.State) string { return s.BrokerStartCmd })
					if err != nil {
						return err
					}
					return env.breakBroker(ctx.Context, harm{"broker-up", "started", cmd}, "--start-cmd", "PULSE_BROKER_START_CMD", "systemctl start rabbitmq-server")
				},
			},
		},
	}
}

// breakBroker runs the user's own command: a broker that we did not start is
// not ours to find and stop.
func (e *Env) breakBroker(ctx context.Context, h harm, flag, envName, example string) error {
	if strings.TrimSpace(h.command) == "" {
		return fail.Usagef(fmt.Sprintf("say how: pulsectl chaos %s %s '%s', or set %s", h.fault, flag, example, envName),
			"the broker of an external stack is not ours to touch")
	}
	ctx, cancel := context.WithTimeout(ctx, chaosTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", h.command)
	cmd.Stdout, cmd.Stderr = e.IO.Err, e.IO.Err
	// A server left behind by the command may hold on to our streams.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fail.Wrap(fmt.Sprintf("%s: command %q failed", h.fault, h.command), err)
	}
	return console.RenderOne(e.IO, harmColumns, h)
}
