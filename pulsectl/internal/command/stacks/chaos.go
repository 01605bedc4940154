package stacks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// Chaos returns the command chaos, with further subcommands.
func Chaos(e *env.Env, more ...*cli.Command) *cli.Command {
	var faults []*cli.Command
	for _, f := range stack.Faults() {
		faults = append(faults, faultCommand(e, f))
	}
	return &cli.Command{
		Name: "chaos", Usage: "inject faults, to see that nothing is lost",
		Subcommands: slices.Concat([]*cli.Command{
			changeCommand(e, stack.Change{Server: stack.Broker, Action: stack.Stop}, "stop the broker"),
			changeCommand(e, stack.Change{Server: stack.Broker, Action: stack.Start}, "start the broker again"),
			{
				Name: "broker-restart", Usage: "stop the broker and start it again",
				Action: func(ctx *cli.Context) error { return brokerRestart(ctx.Context, e) },
			},
			changeCommand(e, stack.Change{Server: stack.Database, Action: stack.Stop}, "stop the database"),
			changeCommand(e, stack.Change{Server: stack.Database, Action: stack.Start}, "start the database again"),
		}, faults, []*cli.Command{
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list the active faults",
				Action: func(ctx *cli.Context) error { return listFaults(ctx.Context, e) },
			},
			{
				Name: "clear", Usage: "clear all faults",
				Action: func(ctx *cli.Context) error { return clearFaults(ctx.Context, e) },
			},
		}, more),
	}
}

// target returns the stack that chaos acts on; the zero one if none runs here.
// Its servers are then stopped by the user's commands, like those of an
// external stack.
func target(e *env.Env) (stack.State, error) {
	s, err := e.Running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return stack.State{}, nil
	case err != nil:
		return s, fail.Wrap("cannot find the stack", err)
	}
	return s, nil
}

// changeCommand returns the command that makes a change.
func changeCommand(e *env.Env, c stack.Change, usage string) *cli.Command {
	return &cli.Command{
		Name: c.Name(), Usage: usage,
		Flags:  []cli.Flag{&cli.StringFlag{Name: c.Flag(), Usage: fmt.Sprintf("external: shell `COMMAND` that %ss it (env %s)", c.Action, c.Variable())}},
		Action: func(ctx *cli.Context) error { return changeOptions{c, ctx.String(c.Flag())}.run(ctx.Context, e) },
	}
}

type changeOptions struct {
	change  stack.Change
	command string // the user's own; empty: the stack's way
}

// run stops or starts a server; a command given by flag overrides the stack's
// way.
func (o changeOptions) run(ctx context.Context, e *env.Env) error {
	c := o.change
	s, err := target(e)
	if err != nil {
		return err
	}
	driver := s.Driver()
	if o.command != "" { // run by the driver of an external stack
		driver = stack.State{}.Driver()
	}
	ctx, cancel := context.WithTimeout(ctx, stack.ChangeLimit)
	defer cancel()
	done, err := driver.Change(ctx, s, c, stack.ChangeOptions{Console: e.IO, Command: func() (string, error) {
		return e.Setting(o.command, c.Variable(), func(s stack.State) string { return s.Command(c) })
	}})
	if err != nil {
		return err
	}
	return renderHarm(e, c.Name(), c.State(), done)
}

func brokerRestart(ctx context.Context, e *env.Env) error {
	s, err := target(e)
	if err != nil {
		return err
	}
	for _, c := range s.Driver().Restart() {
		if err := (changeOptions{change: c}).run(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// harm is the result of a chaos command.
type harm struct{ fault, state, command string }

var harmColumns = []console.Column[harm]{
	{Key: "fault", Value: func(h harm) any { return h.fault }, ID: true},
	{Key: "state", Value: func(h harm) any { return h.state }},
	{Key: "command", Value: func(h harm) any { return h.command }, Wide: true},
}

func renderHarm(e *env.Env, fault, state, command string) error {
	return console.RenderOne(e.IO, harmColumns, harm{fault, state, command})
}

func faultCommand(e *env.Env, f stack.Fault) *cli.Command {
	c := &cli.Command{Name: f.Name, Usage: f.Usage}
	if f.Delay > 0 {
		c.Flags = append(c.Flags, &cli.DurationFlag{Name: "delay", Value: f.Delay, Usage: "by `DURATION`"})
	}
	if f.Counts {
		c.Flags = append(c.Flags, &cli.IntFlag{Name: "count", Usage: "`N` times (default: until cleared)"})
	}
	c.Action = func(ctx *cli.Context) error {
		return faultOptions{Fault: f, delay: ctx.Duration("delay"), count: ctx.Int("count")}.run(ctx.Context, e)
	}
	return c
}

type faultOptions struct {
	stack.Fault
	delay time.Duration
	count int // 0: until it is cleared
}

func (o faultOptions) run(ctx context.Context, e *env.Env) error {
	if o.Fault.Delay > 0 && o.delay < time.Millisecond {
		return fail.Usagef("for example: --delay 500ms", "--delay: %s is less than a millisecond", o.delay)
	}
	if o.count < 0 {
		return fail.Usagef("", "--count: %d is negative", o.count)
	}
	s, err := target(e)
	if err != nil {
		return err
	}
	if err := o.Begin(ctx, s, o.delay, o.count); err != nil {
		return err
	}
	e.IO.Notef("end it with: pulsectl chaos clear")
	return renderHarm(e, o.Name, "active", "")
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

func listFaults(ctx context.Context, e *env.Env) error {
	s, err := target(e)
	if err != nil {
		return err
	}
	faults, err := s.Driver().Faults(ctx, s)
	if err != nil {
		return err
	}
	return console.RenderList(e.IO, console.List[control.Fault]{Columns: faultColumns, Items: faults})
}

func clearFaults(ctx context.Context, e *env.Env) error {
	s, err := target(e)
	if err != nil {
		return err
	}
	if err := s.Driver().Mend(ctx, s, e.IO); err != nil {
		return err
	}
	return listFaults(ctx, e)
}
