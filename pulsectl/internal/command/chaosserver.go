package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// chaosTimeout bounds one command that stops or starts a server.
const chaosTimeout = 2 * time.Minute

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

// server is one that chaos stops and starts.
type server struct {
	word, what            string // in commands, in messages
	service               string // of the compose file
	unit                  string // for examples
	stopEnv, startEnv     string // variables with the user's own commands
	stopNoted, startNoted func(stack.State) string
}

var (
	brokerServer = server{
		word: "broker", what: "broker", service: stack.BrokerService, unit: "rabbitmq-server",
		stopEnv: "PULSE_BROKER_STOP_CMD", startEnv: "PULSE_BROKER_START_CMD",
		stopNoted:  func(s stack.State) string { return s.BrokerStopCmd },
		startNoted: func(s stack.State) string { return s.BrokerStartCmd },
	}
	databaseServer = server{
		word: "db", what: "database", service: stack.DatabaseService, unit: "postgresql",
		stopEnv: "PULSE_DB_STOP_CMD", startEnv: "PULSE_DB_START_CMD",
		stopNoted:  func(s stack.State) string { return s.DBStopCmd },
		startNoted: func(s stack.State) string { return s.DBStartCmd },
	}
	servers = []server{databaseServer, brokerServer} // in the order they are started
)

// What a server is after a change, in results.
const (
	stopped = "stopped"
	started = "started"
)

// change is one of the two things to do to a server.
type change struct {
	server             server
	fault, state, verb string
	flag, envName      string
	noted              func(stack.State) string
	embedded           func(context.Context, control.Client) error
	containers         func(compose.Container) []string
}

func (s server) stop() change {
	return change{
		server: s, fault: s.word + "-down", state: stopped, verb: "stop",
		flag: "stop-cmd", envName: s.stopEnv, noted: s.stopNoted, containers: compose.Container.StopCommand,
		embedded: func(ctx context.Context, c control.Client) error {
			return c.Inject(ctx, control.Fault{Kind: devbroker.FaultDown})
		},
	}
}

func (s server) start() change {
	return change{
		server: s, fault: s.word + "-up", state: started, verb: "start",
		flag: "start-cmd", envName: s.startEnv, noted: s.startNoted, containers: compose.Container.StartCommand,
		embedded: func(ctx context.Context, c control.Client) error { return c.Clear(ctx, devbroker.FaultDown) },
	}
}

func (e *Env) stopCommand(s server) *cli.Command {
	return e.changeCommand(s.stop(), "stop the "+s.what)
}

func (e *Env) startCommand(s server) *cli.Command {
	return e.changeCommand(s.start(), "start the "+s.what+" again")
}

func (e *Env) changeCommand(c change, usage string) *cli.Command {
	return &cli.Command{
		Name: c.fault, Usage: usage,
		Flags:  []cli.Flag{&cli.StringFlag{Name: c.flag, Usage: fmt.Sprintf("external: shell `COMMAND` that %ss it (env %s)", c.verb, c.envName)}},
		Action: func(ctx *cli.Context) error { return e.change(ctx.Context, c, ctx.String(c.flag)) },
	}
}

// change stops or starts a server in the way of the stack; a command given by
// flag goes before that.
func (e *Env) change(ctx context.Context, c change, command string) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, chaosTimeout)
	defer cancel()
	switch {
	case command != "" || s.Stack == stack.External:
		if command, err = e.setting(command, c.envName, c.noted); err != nil {
			return err
		}
		return e.changeByCommand(ctx, c, command)
	case s.Stack == stack.Compose:
		return e.changeContainer(ctx, c, s)
	case c.server.service == stack.DatabaseService:
		return fail.Usagef("use a stack with a server: pulsectl down, then: pulsectl up --stack compose",
			"SQLite runs inside the process: there is no database to %s", c.verb)
	}
	if err := c.embedded(ctx, controlOf(s)); err != nil {
		return fail.Wrap("cannot "+c.verb+" the broker", err)
	}
	return e.renderHarm(c.fault, c.state, "")
}

// changeByCommand runs the user's own command: a server that we did not start
// is not ours to find and stop.
func (e *Env) changeByCommand(ctx context.Context, c change, command string) error {
	if strings.TrimSpace(command) == "" {
		return fail.Usagef(fmt.Sprintf("say how: pulsectl chaos %s --%s 'systemctl %s %s', or set %s", c.fault, c.flag, c.verb, c.server.unit, c.envName),
			"the %s of an external stack is not ours to touch", c.server.what)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	// A server left behind by the command may hold on to our streams.
	cmd.WaitDelay = time.Second
	said := &compose.Tail{Limit: keptOutput}
	err := e.IO.Wait(ctx, c.waitedFor, func(output io.Writer) error {
		output = io.MultiWriter(output, said)
		cmd.Stdout, cmd.Stderr = output, output
		return cmd.Run()
	})
	switch {
	case err == nil:
		return e.renderHarm(c.fault, c.state, command)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fail.New(fail.Timeout, "run it by hand: "+command, "%s: the command did not end within %s", c.fault, short(chaosTimeout))
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if line := said.LastLine(); line != "" && e.IO.ErrStructured() { // else it has been seen
		err = fmt.Errorf("%w: %s", err, line)
	}
	return fail.Wrap(fmt.Sprintf("%s: command %q failed", c.fault, command), err)
}

// keptOutput is how much of a command's output is kept for its error.
const keptOutput = 4 << 10

func (c change) waitedFor() string { return fmt.Sprintf("the %s to %s", c.server.what, c.verb) }

func (e *Env) changeContainer(ctx context.Context, c change, s stack.State) error {
	container, err := containerOf(ctx, s, c.server.service)
	if err != nil {
		return err
	}
	command := c.containers(container)
	control := func(io.Writer) error { return compose.Control(ctx, command) }
	if err := e.IO.Wait(ctx, c.waitedFor, control); err != nil {
		return late(fail.Wrap("cannot "+c.verb+" the "+c.server.what, err), container)
	}
	if c.state == started {
		err = e.awaitHealthy(ctx, s, c.server.service)
	} else {
		err = mustBeDown(ctx, s, c.server)
	}
	if err != nil {
		return err
	}
	return e.renderHarm(c.fault, c.state, strings.Join(command, " "))
}

// mustBeDown believes nothing but its eyes: a container may have been started
// again at once.
func mustBeDown(ctx context.Context, s stack.State, down server) error {
	container, err := containerOf(ctx, s, down.service)
	if err == nil && container.Status != "exited" {
		return fail.New(fail.General, "see who has started it again: docker events --since 1m", "the %s is %s", down.what, container.Condition())
	}
	return err
}

func (e *Env) brokerRestart(ctx context.Context) error {
	s, err := e.target()
	if err != nil {
		return err
	}
	switch s.Stack {
	case stack.Embedded:
		if err := controlOf(s).Restart(ctx); err != nil {
			return fail.Wrap("cannot restart the broker", err)
		}
		return e.renderHarm("broker-restart", started, "")
	case stack.Compose:
		ctx, cancel := context.WithTimeout(ctx, chaosTimeout)
		defer cancel()
		restart := brokerServer.start()
		restart.fault, restart.verb, restart.containers = "broker-restart", "restart", compose.Container.RestartCommand
		return e.changeContainer(ctx, restart, s)
	}
	if err := e.change(ctx, brokerServer.stop(), ""); err != nil {
		return err
	}
	return e.change(ctx, brokerServer.start(), "")
}

// late makes a time-out of a container's command tell what to do.
func late(err error, c compose.Container) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fail.New(fail.Timeout, "see: docker inspect "+c.Name+"; docker logs "+c.Name, "container %s did not obey within %s", c.Name, chaosTimeout)
	}
	return err
}

func (e *Env) awaitHealthy(ctx context.Context, s stack.State, services ...string) error {
	err := stack.AwaitHealthy(ctx, s.Project, e.IO.Wait, services...)
	if err != nil && !errors.Is(err, context.Canceled) {
		return notHealthy(err, fmt.Sprintf("waited %s for %s", chaosTimeout, strings.Join(services, ", ")))
	}
	return err
}

func containerOf(ctx context.Context, s stack.State, service string) (compose.Container, error) {
	list, err := s.Containers(ctx)
	if err != nil {
		return compose.Container{}, fail.Wrap("cannot look at the containers", err)
	}
	i := slices.IndexFunc(list, func(c compose.Container) bool { return c.Service == service })
	if i < 0 {
		return compose.Container{}, fail.New(fail.NotFound, "make it again: pulsectl up --stack compose", "project %s has no container of %s", s.Project, service)
	}
	return list[i], nil
}

// stoppedContainers are the broken ones of a compose stack, servers first.
func stoppedContainers(ctx context.Context, s stack.State) ([]compose.Container, error) {
	list, err := s.Containers(ctx)
	if err != nil {
		return nil, fail.Wrap("cannot look at the containers", err)
	}
	list = slices.DeleteFunc(list, func(c compose.Container) bool {
		return c.Status != "exited" && c.Status != "created" && c.Status != "dead"
	})
	rank := func(c compose.Container) int {
		if i := slices.IndexFunc(servers, func(s server) bool { return s.service == c.Service }); i >= 0 {
			return i
		}
		return len(servers)
	}
	slices.SortStableFunc(list, func(a, b compose.Container) int { return cmp.Compare(rank(a), rank(b)) })
	return list, nil
}

// faultName is the command that makes the fault, where there is one.
func faultName(c compose.Container) string {
	for _, s := range servers {
		if s.service == c.Service {
			return s.stop().fault
		}
	}
	return c.Service + "-down"
}

func (e *Env) startStopped(ctx context.Context, s stack.State) error {
	ctx, cancel := context.WithTimeout(ctx, chaosTimeout)
	defer cancel()
	down, err := stoppedContainers(ctx, s)
	if err != nil {
		return err
	}
	for _, c := range down {
		what := func() string { return "container " + c.Name + " to start" }
		start := func(io.Writer) error { return compose.Control(ctx, c.StartCommand()) }
		if err := e.IO.Wait(ctx, what, start); err != nil {
			return late(fail.Wrap("cannot mend everything", err), c)
		}
		if err := e.awaitHealthy(ctx, s, c.Service); err != nil {
			return err
		}
	}
	return nil
}
