package stacks

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

type downOptions struct {
	stack, composeFile string
	volumes, yes       bool
	timeout            time.Duration
}

// Down returns the command down.
func Down(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "stop the stack that up started; nothing running is success",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Usage: "`KIND`: compose also stops containers of the compose file that up has not recorded"},
			composeFileFlag(),
			&cli.BoolFlag{Name: "volumes", Usage: "compose: delete the data of the containers as well"},
			env.YesFlag(), env.TimeoutFlag(2 * time.Minute),
		},
		Action: func(ctx *cli.Context) error {
			return downOptions{
				stack: ctx.String("stack"), composeFile: ctx.String("compose-file"),
				volumes: ctx.Bool("volumes"), yes: ctx.Bool("yes"), timeout: ctx.Duration("timeout"),
			}.run(ctx.Context, e)
		},
	}
}

// ended is the result of down.
type ended struct{ stopped bool }

var endedColumns = []console.Column[ended]{{Key: "stopped", Value: func(d ended) any { return d.stopped }}}

func (o downOptions) run(ctx context.Context, e *env.Env) error {
	if driver, known := stack.DriverOf(stack.Kind(o.stack)); o.stack != "" && (!known || !driver.Detached()) {
		return fail.Usagef("without --stack, down stops whatever is running", "--stack: %q is not compose", o.stack)
	}
	s, err := e.Running()
	if err != nil && !errors.Is(err, stack.ErrNotRunning) {
		return fail.Wrap("cannot find out what is running", err)
	}
	switch starting := new(stack.StartingError); {
	case o.stack != "":
		if s, err = stack.FindCompose(o.composeFile, e.Getenv); err != nil {
			return err
		}
	case errors.As(err, &starting) && starting.PID != 0:
		s = stack.State{PID: starting.PID}
	case err != nil && !o.volumes:
		e.IO.Notef("nothing to do: no stack is running")
		return console.RenderOne(e.IO, endedColumns, ended{false})
	}
	options := stack.DownOptions{Volumes: o.volumes, Timeout: o.timeout, Console: e.IO}
	options.Dir, _ = e.Dir() // without a directory nothing can be recorded
	if !o.yes {
		options.Confirm = e.Confirm
	}
	if err := s.Driver().Down(ctx, s, options); err != nil {
		return err
	}
	return console.RenderOne(e.IO, endedColumns, ended{true})
}
