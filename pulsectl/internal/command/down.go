package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

type downOptions struct {
	stack, composeFile string
	volumes, yes       bool
	timeout            time.Duration
}

func downCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "stop the stack that up started; nothing running is success",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Usage: "`KIND`: compose ends the containers of the compose file also where up has not noted them"},
			composeFileFlag(),
			&cli.BoolFlag{Name: "volumes", Usage: "compose: delete the data of the containers as well"},
			yesFlag(), timeoutFlag(2 * time.Minute),
		},
		Action: func(ctx *cli.Context) error {
			return env.down(ctx.Context, downOptions{
				stack: ctx.String("stack"), composeFile: ctx.String("compose-file"),
				volumes: ctx.Bool("volumes"), yes: ctx.Bool("yes"), timeout: ctx.Duration("timeout"),
			})
		},
	}
}

// ended is what down has done.
type ended struct{ stopped bool }

var endedColumns = []console.Column[ended]{{Key: "stopped", Value: func(d ended) any { return d.stopped }}}

func (e *Env) down(ctx context.Context, o downOptions) error {
	if o.stack != "" && o.stack != string(stack.Compose) {
		return fail.Usagef("without --stack, down ends whatever is running", "--stack: %q is not compose", o.stack)
	}
	s, err := e.running()
	if err != nil && !errors.Is(err, stack.ErrNotRunning) {
		return fail.Wrap("cannot tell what is running", err)
	}
	running := err == nil
	switch starting := new(stack.StartingError); {
	case errors.As(err, &starting) && starting.PID != 0 && o.stack == "" && !o.volumes:
		return e.downProcess(ctx, starting.PID, o.timeout)
	case running && s.Stack == stack.Compose && o.stack == "":
		return e.downCompose(ctx, s.NotedProject(), s.Client, o)
	case o.stack != "":
		project, _, err := e.composeProject(o.composeFile, "")
		if err != nil {
			return err
		}
		return e.downCompose(ctx, project, "", o)
	case o.volumes:
		return fail.Usagef("for containers that nothing is noted of: pulsectl down --stack compose --volumes", "--volumes: no compose stack is running")
	case !running:
		e.IO.Notef("nothing to do: no stack is running")
		return console.RenderOne(e.IO, endedColumns, ended{false})
	}
	return e.downProcess(ctx, s.PID, o.timeout)
}

func (e *Env) downProcess(ctx context.Context, pid int, timeout time.Duration) error {
	if err := stack.Stop(pid); err != nil {
		return fail.Wrap(fmt.Sprintf("cannot stop process %d", pid), err)
	}
	err := e.until(ctx, timeout, "the stack to stop", func(context.Context) (string, error) {
		_, err := stack.Load(e.stateDir)
		if errors.Is(err, stack.ErrNotRunning) && !errors.As(err, new(*stack.StartingError)) {
			return "", nil
		}
		if err != nil && !errors.Is(err, stack.ErrNotRunning) {
			return "", err
		}
		return fmt.Sprintf("process %d is still running", pid), nil
	})
	if err != nil {
		return err
	}
	return console.RenderOne(e.IO, endedColumns, ended{true})
}

// downCompose ends a project with the client that started it, if that is known.
func (e *Env) downCompose(ctx context.Context, project compose.Project, started string, o downOptions) error {
	if o.volumes && !o.yes {
		if err := e.confirm(fmt.Sprintf("All orders, messages and queues of project %s would be deleted for good: go on?", project.Name)); err != nil {
			return err
		}
	}
	dir, err := e.dir()
	if err != nil {
		return fail.Wrap("cannot stop", err)
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	client, err := compose.Find(limited, started)
	if err != nil {
		return orElse(err, "forget the containers: rm "+quoted(stack.Path(dir)))
	}
	what := func() string { return "the containers of project " + project.Name + " to stop" }
	err = e.IO.Wait(limited, what, func(output io.Writer) error {
		return stack.DownCompose(limited, dir, client, project, o.volumes, output)
	})
	switch {
	case errors.Is(err, stack.ErrRunning):
		return fail.New(fail.General, "see what is running: pulsectl status", "another pulsectl is at work on a stack")
	case errors.Is(err, context.DeadlineExceeded):
		return fail.New(fail.Timeout, "see what is left: docker ps --filter label=com.docker.compose.project="+project.Name,
			"waited %s for the containers to stop", short(o.timeout))
	case err != nil:
		return fail.Wrap("cannot stop the containers", err)
	}
	return console.RenderOne(e.IO, endedColumns, ended{true})
}
