package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Services are the databases and the broker of an external stack, and the
// commands that stop and start them.
type Services struct {
	OutboxDB, InboxDB, AMQPURL    string
	Rotated                       Rotated
	BrokerStopCmd, BrokerStartCmd string
	DBStopCmd, DBStartCmd         string
}

// Rotated returns values that may have changed since the start, at each
// connect. A nil function means that the value does not change.
type Rotated struct {
	OutboxDB, InboxDB, AMQPURL func(context.Context) (string, error)
	AMQPTLS                    func(context.Context) (*tls.Config, error)
}

// externalDriver runs the services with the user's own databases and broker.
type externalDriver struct{ inProcess }

var external = externalDriver{inProcess{kind: External, around: onServices}}

func (externalDriver) Configure(cfg *Config, services func() (Services, []error)) []error {
	given, errs := services()
	cfg.Services = given
	return append(errs, cfg.onlyEmbedded(), cfg.onlyCompose(), cfg.readTelemetry(), cfg.readAuth(false), cfg.readLimits(), cfg.refuseCertificates())
}

func (d externalDriver) Up(ctx context.Context, cfg Config, ready func(State)) error {
	return d.up(ctx, cfg, "", ready)
}

// onServices runs the services with existing servers.
func onServices(ctx context.Context, cfg Config, state *State, services func(context.Context) error) error {
	state.OutboxDB, state.InboxDB, state.AMQPURL = cfg.OutboxDB, cfg.InboxDB, cfg.AMQPURL
	state.BrokerStopCmd, state.BrokerStartCmd = cfg.BrokerStopCmd, cfg.BrokerStartCmd
	state.DBStopCmd, state.DBStartCmd = cfg.DBStopCmd, cfg.DBStartCmd
	return services(ctx)
}

// Change runs the user's own command: pulsectl has not started the server and
// does not know how to stop it.
func (externalDriver) Change(ctx context.Context, _ State, c Change, o ChangeOptions) (string, error) {
	command, err := o.Command()
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(command) == "" {
		return "", fail.Usagef(fmt.Sprintf("pass a command: pulsectl chaos %s --%s 'systemctl %s %s', or set %s", c.Name(), c.Flag(), c.Action, c.Server.unit(), c.Variable()),
			"the %s of an external stack needs a command from you", c.Server)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	// A server started by the command may keep the streams open.
	cmd.WaitDelay = time.Second
	said := &compose.Tail{Limit: keptOutput}
	err = o.Console.Wait(ctx, c.waitedFor, func(output io.Writer) error {
		output = io.MultiWriter(output, said)
		cmd.Stdout, cmd.Stderr = output, output
		return cmd.Run()
	})
	switch {
	case err == nil:
		return command, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fail.New(fail.Timeout, "run it by hand: "+command, "%s: the command did not end within %s", c.Name(), clip.Duration(ChangeLimit))
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	if line := said.LastLine(); line != "" && o.Console.ErrStructured() { // otherwise it has been printed
		err = fmt.Errorf("%w: %s", err, line)
	}
	return "", fail.Wrap(fmt.Sprintf("%s: command %q failed", c.Name(), command), err)
}

// keptOutput limits the output of a command that is kept for its error.
const keptOutput = 4 << 10

// Restart stops and starts the broker: there is no separate command.
func (externalDriver) Restart() []Change { return []Change{{Broker, Stop}, {Broker, Start}} }

func (externalDriver) Control(s State) (control.Client, error) {
	if s.StartedAt.IsZero() { // no stack is running
		return control.Client{}, fail.Usagef("start one: pulsectl up", "this needs a running embedded stack")
	}
	return control.Client{}, errNotEmbedded(s)
}

func (d externalDriver) Faults(_ context.Context, s State) ([]control.Fault, error) {
	_, err := d.Control(s)
	return nil, err
}

func (d externalDriver) Mend(_ context.Context, s State, _ *console.IO) error {
	_, err := d.Control(s)
	return err
}
