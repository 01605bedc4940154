package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
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
				Flags: []cli.Flag{&cli.StringFlag{Name: "stop-cmd", Usage: "external: shell `COMMAND` that stops it (env PULSE_BROKER_STOP_CMD)"}},
				Action: func(ctx *cli.Context) error {
					return env.brokerDown(ctx.Context, ctx.String("stop-cmd"))
				},
			},
			{
				Name: "broker-up", Usage: "start the broker again",
				Flags: []cli.Flag{&cli.StringFlag{Name: "start-cmd", Usage: "external: shell `COMMAND` that starts it (env PULSE_BROKER_START_CMD)"}},
				Action: func(ctx *cli.Context) error {
					return env.brokerUp(ctx.Context, ctx.String("start-cmd"))
				},
			},
			{
				Name: "broker-restart", Usage: "stop the broker and start it again",
				Action: func(ctx *cli.Context) error { return env.brokerRestart(ctx.Context) },
			},
			env.faultCommand(fault{name: "broker-block", kind: devbroker.FaultBlockPublishers, usage: "block publishers, as a broker short of memory or disk does"}),
			env.faultCommand(fault{name: "broker-slow", kind: devbroker.FaultDelayConfirms, usage: "confirm late", delay: 500 * time.Millisecond}),
			env.faultCommand(fault{name: "drop-confirms", kind: devbroker.FaultDropConfirms, usage: "take messages and never confirm them", counts: true}),
			env.faultCommand(fault{name: "duplicate", kind: devbroker.FaultDuplicateDeliveries, usage: "deliver messages twice", counts: true}),
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list what is broken",
				Action: func(ctx *cli.Context) error { return env.listFaults(ctx.Context) },
			},
			{
				Name: "clear", Usage: "mend everything",
				Action: func(ctx *cli.Context) error { return env.clearFaults(ctx.Context) },
			},
		},
	}
}

// embedded reaches the broker of a running embedded stack; ok is false where
// another stack, or none, is in use.
func (e *Env) embedded() (c control.Client, ok bool, err error) {
	s, err := e.running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return c, false, nil
	case err != nil:
		return c, false, fail.Wrap("cannot tell where the stack is", err)
	}
	return control.Client{URL: s.ControlURL, Token: s.ControlToken}, s.Stack == stack.Embedded, nil
}

func (e *Env) mustEmbedded() (control.Client, error) {
	c, ok, err := e.embedded()
	if err == nil && !ok {
		err = fail.Usagef("start one: pulsectl up", "this needs a running embedded stack")
	}
	return c, err
}

func (e *Env) brokerDown(ctx context.Context, stopCmd string) error {
	if c, ok, err := e.embedded(); err != nil {
		return err
	} else if ok && stopCmd == "" {
		if err := c.Inject(ctx, control.Fault{Kind: devbroker.FaultDown}); err != nil {
			return fail.Wrap("cannot take the broker down", err)
		}
		return e.renderHarm("broker-down", "stopped", "")
	}
	cmd, err := e.setting(stopCmd, "PULSE_BROKER_STOP_CMD", func(s stack.State) string { return s.BrokerStopCmd })
	if err != nil {
		return err
	}
	return e.breakBroker(ctx, harm{"broker-down", "stopped", cmd}, "--stop-cmd", "PULSE_BROKER_STOP_CMD", "systemctl stop rabbitmq-server")
}

func (e *Env) brokerUp(ctx context.Context, startCmd string) error {
	if c, ok, err := e.embedded(); err != nil {
		return err
	} else if ok && startCmd == "" {
		if err := c.Clear(ctx, devbroker.FaultDown); err != nil {
			return fail.Wrap("cannot bring the broker up", err)
		}
		return e.renderHarm("broker-up", "started", "")
	}
	cmd, err := e.setting(startCmd, "PULSE_BROKER_START_CMD", func(s stack.State) string { return s.BrokerStartCmd })
	if err != nil {
		return err
	}
	return e.breakBroker(ctx, harm{"broker-up", "started", cmd}, "--start-cmd", "PULSE_BROKER_START_CMD", "systemctl start rabbitmq-server")
}

func (e *Env) brokerRestart(ctx context.Context) error {
	if c, ok, err := e.embedded(); err != nil {
		return err
	} else if ok {
		if err := c.Restart(ctx); err != nil {
			return fail.Wrap("cannot restart the broker", err)
		}
		return e.renderHarm("broker-restart", "started", "")
	}
	if err := e.brokerDown(ctx, ""); err != nil {
		return err
	}
	return e.brokerUp(ctx, "")
}

func (e *Env) renderHarm(fault, state, command string) error {
	return console.RenderOne(e.IO, harmColumns, harm{fault, state, command})
}

// fault describes one that only the embedded broker can be told to have.
type fault struct {
	name, usage string
	kind        devbroker.FaultKind
	delay       time.Duration // default of --delay; zero: has no delay
	counts      bool          // takes --count
}

func (e *Env) faultCommand(f fault) *cli.Command {
	c := &cli.Command{Name: f.name, Usage: f.usage}
	if f.delay > 0 {
		c.Flags = append(c.Flags, &cli.DurationFlag{Name: "delay", Value: f.delay, Usage: "by `DURATION`"})
	}
	if f.counts {
		c.Flags = append(c.Flags, &cli.IntFlag{Name: "count", Usage: "`N` times (default: until cleared)"})
	}
	c.Action = func(ctx *cli.Context) error {
		if f.delay > 0 && ctx.Duration("delay") < time.Millisecond {
			return fail.Usagef("for example: --delay 500ms", "--delay: %s is less than a millisecond", ctx.Duration("delay"))
		}
		if ctx.Int("count") < 0 {
			return fail.Usagef("", "--count: %d is negative", ctx.Int("count"))
		}
		broker, err := e.mustEmbedded()
		if err != nil {
			return err
		}
		wanted := control.Fault{Kind: f.kind, Delay: ctx.Duration("delay"), Count: ctx.Int("count")}
		if err := broker.Inject(ctx.Context, wanted); err != nil {
			return fail.Wrap("cannot begin "+f.name, err)
		}
		e.IO.Notef("end it with: pulsectl chaos clear")
		return e.renderHarm(f.name, "active", "")
	}
	return c
}

var faultColumns = []console.Column[control.Fault]{
	{Key: "fault", Value: func(f control.Fault) any { return string(f.Kind) }, ID: true},
	{Key: "since", Value: func(f control.Fault) any { return f.Since }},
	{Key: "delay", Value: func(f control.Fault) any {
		if f.Delay == 0 {
			return nil
		}
		return f.Delay.String()
	}},
	{Key: "left", Value: func(f control.Fault) any {
		if f.Count == 0 {
			return nil
		}
		return f.Count
	}},
}

func (e *Env) listFaults(ctx context.Context) error {
	broker, err := e.mustEmbedded()
	if err != nil {
		return err
	}
	faults, err := broker.Faults(ctx)
	if err != nil {
		return fail.Wrap("cannot list the faults", err)
	}
	return console.RenderList(e.IO, console.List[control.Fault]{Columns: faultColumns, Items: faults})
}

func (e *Env) clearFaults(ctx context.Context) error {
	broker, err := e.mustEmbedded()
	if err != nil {
		return err
	}
	if err := broker.Clear(ctx, ""); err != nil {
		return fail.Wrap("cannot mend everything", err)
	}
	return e.listFaults(ctx)
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
