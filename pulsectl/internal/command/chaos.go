package command

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

func chaosCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "chaos", Usage: "break things on purpose, to see that nothing is lost",
		Subcommands: []*cli.Command{
			env.stopCommand(brokerServer), env.startCommand(brokerServer),
			{
				Name: "broker-restart", Usage: "stop the broker and start it again",
				Action: func(ctx *cli.Context) error { return env.brokerRestart(ctx.Context) },
			},
			env.stopCommand(databaseServer), env.startCommand(databaseServer),
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

// target is the stack that chaos acts on. Where none runs here, it is as if an
// external one did: its servers are stopped by commands of the user's.
func (e *Env) target() (stack.State, error) {
	s, err := e.running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return stack.State{Stack: stack.External}, nil
	case err != nil:
		return s, fail.Wrap("cannot tell where the stack is", err)
	}
	return s, nil
}

func controlOf(s stack.State) control.Client {
	return control.Client{URL: s.ControlURL, Token: s.ControlToken}
}

func (e *Env) mustEmbedded() (control.Client, error) {
	s, err := e.target()
	switch {
	case err != nil:
		return control.Client{}, err
	case s.Stack == stack.Embedded:
		return controlOf(s), nil
	case e.state != nil:
		return control.Client{}, fail.Usagef("change to one: pulsectl down, then: pulsectl up",
			"this needs a running embedded stack; this one is %s", s.Stack)
	}
	return control.Client{}, fail.Usagef("start one: pulsectl up", "this needs a running embedded stack")
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
	faults, err := e.faults(ctx)
	if err != nil {
		return err
	}
	return console.RenderList(e.IO, console.List[control.Fault]{Columns: faultColumns, Items: faults})
}

func (e *Env) faults(ctx context.Context) ([]control.Fault, error) {
	s, err := e.target()
	if err != nil {
		return nil, err
	}
	if s.Stack == stack.Compose {
		down, err := stoppedContainers(ctx, s)
		if err != nil {
			return nil, err
		}
		var faults []control.Fault
		for _, c := range down {
			faults = append(faults, control.Fault{Kind: devbroker.FaultKind(faultName(c)), Since: c.FinishedAt})
		}
		return faults, nil
	}
	broker, err := e.mustEmbedded()
	if err != nil {
		return nil, err
	}
	faults, err := broker.Faults(ctx)
	return faults, fail.Wrap("cannot list the faults", err)
}

func (e *Env) clearFaults(ctx context.Context) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	if s.Stack == stack.Compose {
		if err := e.startStopped(ctx, s); err != nil {
			return err
		}
		return e.listFaults(ctx)
	}
	broker, err := e.mustEmbedded()
	if err != nil {
		return err
	}
	if err := broker.Clear(ctx, ""); err != nil {
		return fail.Wrap("cannot mend everything", err)
	}
	return e.listFaults(ctx)
}
