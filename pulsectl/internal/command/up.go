package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

type upOptions struct {
	stack                         string
	ordersAddr, notificationsAddr string
	stopCmd, startCmd             string
	brokerAddr, dataDir           string
	ephemeral                     bool
	logLevel, logFormat           string
	detach                        bool
	timeout                       time.Duration
}

func upCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "run orders, relay, consumer and notifications in one process",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Value: string(stack.Embedded), Usage: "`KIND`: embedded brings SQLite files and a broker along; external runs on --outbox-db, --inbox-db and --amqp-url"},
			&cli.StringFlag{Name: "data-dir", Usage: "embedded: `FOLDER` of its files (default: data in the state directory)"},
			&cli.BoolFlag{Name: "ephemeral", Usage: "embedded: keep the files in a temporary folder that goes with the stack"},
			&cli.StringFlag{Name: "broker-addr", Value: "127.0.0.1:5673", EnvVars: []string{"PULSE_BROKER_ADDR"}, Usage: "embedded: `HOST:PORT` of the broker"},
			&cli.StringFlag{Name: "orders-addr", Value: "127.0.0.1:6101", EnvVars: []string{"PULSE_ORDERS_ADDR"}, Usage: "`HOST:PORT` of the orders service"},
			&cli.StringFlag{Name: "notifications-addr", Value: "127.0.0.1:6102", EnvVars: []string{"PULSE_NOTIFICATIONS_ADDR"}, Usage: "`HOST:PORT` of the notifications service"},
			&cli.StringFlag{Name: "stop-cmd", Usage: "external: shell `COMMAND` for chaos broker-down (env PULSE_BROKER_STOP_CMD)"},
			&cli.StringFlag{Name: "start-cmd", Usage: "external: shell `COMMAND` for chaos broker-up (env PULSE_BROKER_START_CMD)"},
			&cli.StringFlag{Name: "log-level", Value: "info", EnvVars: []string{"PULSE_LOG_LEVEL"}, Usage: "`LEVEL`: debug, info, warn, error"},
			&cli.StringFlag{Name: "log-format", Value: "auto", EnvVars: []string{"PULSE_LOG_FORMAT"}, Usage: "`FORMAT`: auto, json, text"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return once all is ready, and leave it running"},
			timeoutFlag(time.Minute),
		},
		Action: func(ctx *cli.Context) error {
			return env.up(ctx.Context, upOptions{
				stack: ctx.String("stack"), ordersAddr: ctx.String("orders-addr"), notificationsAddr: ctx.String("notifications-addr"),
				dataDir: ctx.String("data-dir"), ephemeral: ctx.Bool("ephemeral"), brokerAddr: ctx.String("broker-addr"),
				stopCmd: ctx.String("stop-cmd"), startCmd: ctx.String("start-cmd"),
				logLevel: ctx.String("log-level"), logFormat: ctx.String("log-format"),
				detach: ctx.Bool("detach"), timeout: ctx.Duration("timeout"),
			})
		},
	}
}

func (e *Env) up(ctx context.Context, o upOptions) (err error) {
	dir, err := e.dir()
	if err != nil {
		return fail.Wrap("cannot start", err)
	}
	cfg, err := e.stackConfig(o)
	if err != nil {
		return err
	}
	cfg.Dir = dir
	if o.detach {
		return e.upDetached(ctx, dir, o.timeout)
	}
	if e.getenv(detachedEnv) != "" {
		cfg.LogFile = stack.LogPath(dir)
	}
	if cfg.Kind == stack.Embedded {
		cfg.DataDir = cmp.Or(o.dataDir, stack.DefaultDataDir(dir))
		if o.ephemeral {
			if cfg.DataDir, err = os.MkdirTemp("", "pulse-events-"); err != nil {
				return fail.Wrap("cannot make a temporary folder", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(cfg.DataDir)) }()
		}
	}
	err = stack.Run(ctx, cfg, e.announce)
	switch {
	case errors.Is(err, stack.ErrRunning):
		return fail.New(fail.General, "stop it first: pulsectl down", "a stack is running already")
	case errors.As(err, new(*stack.PortTakenError)):
		return fail.New(fail.General, "stop it, or choose another address: --orders-addr, --notifications-addr, --broker-addr", "%v", err)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil, err == nil:
		return nil // asked to stop, and did
	}
	return fail.Wrap("the stack ended", err)
}

// stackConfig gathers the settings. They come from flags and environment
// only: what another stack has noted is not ours.
func (e *Env) stackConfig(o upOptions) (stack.Config, error) {
	e.stateErr = stack.ErrNotRunning
	var errs []error
	read := func(value string, err error) string {
		errs = append(errs, err)
		return value
	}
	level, err := logging.ParseLevel(o.logLevel)
	if err != nil {
		errs = append(errs, fail.Usagef("", "--log-level: %v", err))
	}
	format, err := logging.ParseFormat(o.logFormat)
	if err != nil {
		errs = append(errs, fail.Usagef("", "--log-format: %v", err))
	}
	cfg := stack.Config{
		Kind: stack.Kind(o.stack), OrdersAddr: o.ordersAddr, NotificationsAddr: o.notificationsAddr,
		BrokerAddr: o.brokerAddr, Logger: logging.New(e.IO.Err, format, level),
	}
	switch cfg.Kind {
	case stack.Embedded:
		if o.ephemeral && o.dataDir != "" {
			errs = append(errs, fail.Usagef("", "give --data-dir or --ephemeral, not both"))
		}
	case stack.External:
		cfg.OutboxDB, cfg.InboxDB, cfg.AMQPURL = read(e.outboxURL()), read(e.inboxURL()), read(e.amqpURL())
		if cfg.AMQPTLS, err = e.amqpTLS(); err != nil {
			errs = append(errs, err)
		}
		cfg.BrokerStopCmd = read(e.setting(o.stopCmd, "PULSE_BROKER_STOP_CMD", nil))
		cfg.BrokerStartCmd = read(e.setting(o.startCmd, "PULSE_BROKER_START_CMD", nil))
		if o.ephemeral || o.dataDir != "" {
			errs = append(errs, fail.Usagef("", "--data-dir and --ephemeral are for the embedded stack"))
		}
	default:
		errs = append(errs, fail.Usagef("have: embedded, external", "--stack: unknown stack %q", o.stack))
	}
	return cfg, allUsage(errs)
}

// allUsage makes one error of several, so that all are mended at once.
func allUsage(errs []error) error {
	var messages []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		f := fail.From(err)
		if f.Kind != fail.Usage {
			return err
		}
		messages = append(messages, f.Message)
	}
	if len(messages) == 0 {
		return nil
	}
	return fail.Usagef("run: pulsectl up --help", "%s", strings.Join(messages, "\n"))
}

// announce says where everything is and what to type next.
func (e *Env) announce(s stack.State) {
	s = s.Redacted()
	if e.IO.Structured() {
		_ = console.RenderOne(e.IO, stateColumns, s)
		return
	}
	lines := []string{
		"", fmt.Sprintf("%s (%s stack, process %d)", e.IO.Paint(console.Good, "ready"), s.Stack, s.PID),
		"  orders         " + s.OrdersURL, "  notifications  " + s.NotificationsURL,
		"  outbox         " + s.OutboxDB, "  inbox          " + s.InboxDB, "  broker         " + s.AMQPURL,
	}
	if s.Stack == stack.Embedded {
		lines = append(lines, "", e.IO.Paint(console.Warn, "NOT FOR PRODUCTION:")+" one process, SQLite files, a broker for development")
	}
	lines = append(lines, "", "try, in another terminal:",
		"  pulsectl order create --customer customer-123 --amount 77.5",
		"  pulsectl outbox ls", "  pulsectl chaos broker-down", "  pulsectl verify",
		"stop with Ctrl-C or: pulsectl down", "")
	for _, line := range lines {
		e.IO.Println(line)
	}
}

var stateColumns = []console.Column[stack.State]{
	{Key: "stack", Value: func(s stack.State) any { return string(s.Stack) }},
	{Key: "pid", Value: func(s stack.State) any { return s.PID }, ID: true},
	{Key: "startedAt", Value: func(s stack.State) any { return s.StartedAt }},
	{Key: "ordersUrl", Value: func(s stack.State) any { return s.OrdersURL }},
	{Key: "notificationsUrl", Value: func(s stack.State) any { return s.NotificationsURL }},
	{Key: "outboxDb", Value: func(s stack.State) any { return s.OutboxDB }},
	{Key: "inboxDb", Value: func(s stack.State) any { return s.InboxDB }},
	{Key: "amqpUrl", Value: func(s stack.State) any { return s.AMQPURL }},
	{Key: "dataDir", Value: func(s stack.State) any { return s.DataDir }},
	{Key: "logFile", Value: func(s stack.State) any { return s.LogFile }},
}

func downCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "stop the stack that up started; nothing running is success",
		Flags:  []cli.Flag{timeoutFlag(time.Minute)},
		Action: func(ctx *cli.Context) error { return env.down(ctx.Context, ctx.Duration("timeout")) },
	}
}

func (e *Env) down(ctx context.Context, timeout time.Duration) error {
	type T struct{ stopped bool }
	columns := []console.Column[T]{{Key: "stopped", Value: func(t T) any { return t.stopped }}}
	s, err := e.running()
	if errors.Is(err, stack.ErrNotRunning) {
		e.IO.Notef("nothing to do: no stack is running")
		return console.RenderOne(e.IO, columns, T{false})
	}
	if err != nil {
		return fail.Wrap("cannot tell what is running", err)
	}
	if err := stack.Stop(s); err != nil {
		return fail.Wrap(fmt.Sprintf("cannot stop process %d", s.PID), err)
	}
	err = e.until(ctx, timeout, "the stack to stop", func(context.Context) (bool, error) {
		_, err := stack.Load(e.stateDir)
		if errors.Is(err, stack.ErrNotRunning) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return err
	}
	return console.RenderOne(e.IO, columns, T{true})
}
