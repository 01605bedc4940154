package command

import (
	"context"
	"errors"
	"fmt"
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
			env.changeCommand(stack.Change{Server: stack.Broker, Action: stack.Stop}, "stop the broker"),
			env.changeCommand(stack.Change{Server: stack.Broker, Action: stack.Start}, "start the broker again"),
			{
				Name: "broker-restart", Usage: "stop the broker and start it again",
				Action: func(ctx *cli.Context) error { return env.brokerRestart(ctx.Context) },
			},
			env.changeCommand(stack.Change{Server: stack.Database, Action: stack.Stop}, "stop the database"),
			env.changeCommand(stack.Change{Server: stack.Database, Action: stack.Start}, "start the database again"),
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

// target is the stack that chaos acts on; the zero one where none runs here. Its
// servers are then stopped by commands of the user's, as an external stack's are.
func (e *Env) target() (stack.State, error) {
	s, err := e.running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return stack.State{}, nil
	case err != nil:
		return s, fail.Wrap("cannot tell where the stack is", err)
	}
	return s, nil
}

// changeCommand is the command that makes a change.
func (e *Env) changeCommand(c stack.Change, usage string) *cli.Command {
	return &cli.Command{
		Name: c.Name(), Usage: usage,
		Flags:  []cli.Flag{&cli.StringFlag{Name: c.Flag(), Usage: fmt.Sprintf("external: shell `COMMAND` that %ss it (env %s)", c.Action, c.Variable())}},
		Action: func(ctx *cli.Context) error { return e.change(ctx.Context, c, ctx.String(c.Flag())) },
	}
}

// change stops or starts a server in the way of the stack; a command given by
// flag goes before that.
func (e *Env) change(ctx context.Context, c stack.Change, command string) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	driver := s.Driver()
	if command != "" {
		driver = stack.State{}.Driver()
	}
	ctx, cancel := context.WithTimeout(ctx, stack.ChangeLimit)
	defer cancel()
	done, err := driver.Change(ctx, s, c, stack.ChangeOptions{Console: e.IO, Command: func() (string, error) {
		return e.setting(command, c.Variable(), func(s stack.State) string { return s.Command(c) })
	}})
	if err != nil {
		return err
	}
	return e.renderHarm(c.Name(), c.State(), done)
}

func (e *Env) brokerRestart(ctx context.Context) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	for _, c := range s.Driver().Restart() {
		if err := e.change(ctx, c, ""); err != nil {
			return err
		}
	}
	return nil
}

// harm is what a chaos command did.
type harm struct{ fault, state, command string }

var harmColumns = []console.Column[harm]{
	{Key: "fault", Value: func(h harm) any { return h.fault }, ID: true},
	{Key: "state", Value: func(h harm) any { return h.state }},
	{Key: "command", Value: func(h harm) any { return h.command }, Wide: true},
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
		s, err := e.target()
		if err != nil {
			return err
		}
		broker, err := s.Driver().Control(s)
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
	s, err := e.target()
	if err != nil {
		return err
	}
	faults, err := s.Driver().Faults(ctx, s)
	if err != nil {
		return err
	}
	return console.RenderList(e.IO, console.List[control.Fault]{Columns: faultColumns, Items: faults})
}

func (e *Env) clearFaults(ctx context.Context) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	if err := s.Driver().Mend(ctx, s, e.IO); err != nil {
		return err
	}
	return e.listFaults(ctx)
}
