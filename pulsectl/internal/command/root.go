package command

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/argv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Version is set by the linker; unset, the module's own version is shown.
var Version string

// Run executes one command line, args[0] being the program's name, and
// returns the exit code. getenv is the environment.
func Run(ctx context.Context, args []string, out *console.IO, getenv func(string) string) int {
	env := &Env{IO: out, getenv: getenv}
	app := newApp(env)
	if len(args) > 1 && args[1] == completeWord {
		env.complete(app, args[2:])
		return 0
	}
	err := app.RunContext(ctx, argv.Normalise(app, args))
	err = errors.Join(err, env.Close())
	if err == nil {
		return 0
	}
	e := fail.From(err)
	code := e.ExitCode()
	if signal, ok := errors.AsType[signaled](context.Cause(ctx)); ok {
		if code = signal.exitCode(); e.Kind != fail.Interrupted {
			e = &fail.Error{Kind: fail.Interrupted, Message: "interrupted", Cause: e}
		}
	}
	out.Fail(e)
	return code
}

func newApp(env *Env) *cli.App {
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true} // without -v
	app := &cli.App{
		Name:  "pulsectl",
		Usage: "run, inspect and prove transactional messaging: outbox, inbox, broker",
		Description: "A message is published if and only if its transaction commits, and its effect\n" +
			"is applied once even when it arrives twice. pulsectl shows it, operates it and proves it.",
		Version:                   version(),
		Writer:                    env.IO.Out,
		ErrWriter:                 env.IO.Err,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // os.Exit inside Run would lose defers
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of results: table, wide, json, jsonl, tsv, name (default: table on a terminal, tsv in a pipe)"},
			&cli.BoolFlag{Name: "json", Usage: "same as --output json"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only, same as --output name"},
			&cli.StringFlag{Name: "color", Value: "auto", Usage: "`WHEN` to colour: auto, always, never"},
			&cli.StringFlag{Name: "outbox-db", Usage: "`URL` of the database with the outbox (env PULSE_OUTBOX_DB; a password belongs there)"},
			&cli.StringFlag{Name: "inbox-db", Usage: "`URL` of the database with the inbox (env PULSE_INBOX_DB)"},
			&cli.StringFlag{Name: "amqp-url", Usage: "`URL` of the broker (env PULSE_AMQP_URL)"},
			&cli.StringFlag{Name: "orders-url", Usage: "base `URL` of the orders service (env PULSE_ORDERS_URL)"},
			&cli.StringFlag{Name: "notifications-url", Usage: "base `URL` of the notifications service (env PULSE_NOTIFICATIONS_URL)"},
			&cli.StringFlag{Name: "queue", Value: "order.created", EnvVars: []string{"PULSE_QUEUE"}, Usage: "`NAME` of the queue the inbox reads"},
			&cli.StringFlag{Name: "consumer", Value: "notifications", EnvVars: []string{"PULSE_CONSUMER"}, Usage: "`NAME` of the consumer in processed_events"},
			&cli.StringFlag{Name: "retry-delays", EnvVars: []string{"PULSE_RETRY_DELAYS"}, Usage: "`DELAYS` of the consumer's retry queues, with commas; none: it has none (default: as the running consumer says, else those of inbox/rabbitmq)"},
			&cli.StringFlag{Name: "management-url", Usage: "base `URL` of RabbitMQ's management API, which tells what is held unacknowledged (env PULSE_MANAGEMENT_URL)"},
			cli.HelpFlag, // the library leaves it out where there is a command help
		},
		Before: env.readGlobals,
		Commands: slices.Concat(
			category("START HERE", demoCommand(env), upCommand(env), downCommand(env), statusCommand(env)),
			category("ORDERS AND MESSAGES", orderCommand(env), notificationCommand(env), outboxCommand(env), inboxCommand(env),
				replayCommand(env), migrateCommand(env), brokerCommand(env)),
			category("BREAK AND PROVE", chaosCommand(env), verifyCommand(env)),
			category("ABOUT PULSECTL", helpCommand(env), completionCommand(env), manCommand(env), versionCommand(env)),
		),
	}
	cli.HelpPrinterCustom = env.printHelp // the library's own does not fit a terminal
	app.OnUsageError = usageError
	app.Action = groupAction("pulsectl", app.Commands, func(ctx *cli.Context) error {
		env.appHelp(ctx.App, true)
		return nil
	})
	for _, c := range app.Commands {
		harden(c, "pulsectl")
	}
	return app
}

// category puts commands under a heading of the help.
func category(name string, commands ...*cli.Command) []*cli.Command {
	for _, c := range commands {
		c.Category = name
	}
	return commands
}

// harden gives every command the answers that the library leaves out: usage
// errors on stderr, and an error for words nobody asked for.
func harden(c *cli.Command, parent string) {
	full := parent + " " + c.Name
	c.OnUsageError = usageError
	c.HideHelpCommand = true
	if len(c.Subcommands) > 0 && c.Action == nil {
		c.Action = groupAction(full, c.Subcommands, cli.ShowSubcommandHelp)
	}
	for _, sub := range c.Subcommands {
		harden(sub, full)
	}
	if len(c.Subcommands) == 0 && c.ArgsUsage == "" {
		action := c.Action
		c.Action = func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return fail.Usagef("run: "+full+" --help", "unexpected argument %q", ctx.Args().First())
			}
			return action(ctx)
		}
	}
}

// groupAction is what a command does that has others below it: it shows them.
func groupAction(full string, commands []*cli.Command, show cli.ActionFunc) cli.ActionFunc {
	return func(ctx *cli.Context) error {
		if !ctx.Args().Present() {
			return show(ctx)
		}
		word := ctx.Args().First()
		hint := "run: " + full + " --help"
		if near := nearest(word, commands); near != "" {
			hint = "did you mean: " + full + " " + near
		}
		return fail.Usagef(hint, "unknown command %q for %s", word, full)
	}
}

func usageError(ctx *cli.Context, err error, _ bool) error {
	name := ctx.App.Name
	if ctx.Command != nil && ctx.Command.HelpName != "" {
		name = ctx.Command.HelpName
	}
	message := strings.ReplaceAll(err.Error(), "flag provided but not defined: -", "unknown flag --")
	message = strings.ReplaceAll(message, "unknown flag ---", "unknown flag --")
	hint := "run: " + name + " --help"
	if flag, ok := strings.CutPrefix(message, "unknown flag --"); ok {
		if near := nearestFlag(flag, ctx); near != "" {
			hint = "did you mean: --" + near
		}
	}
	return fail.Usagef(hint, "%s", message)
}

// readGlobals checks the flags that every command has.
func (e *Env) readGlobals(ctx *cli.Context) error {
	format, err := console.ParseFormat(ctx.String("output"))
	if err != nil {
		return fail.Usagef("for example: -o json", "--output: %v", err)
	}
	if ctx.Bool("json") {
		format = console.JSON
	}
	if ctx.Bool("quiet") {
		format = console.Name
	}
	e.IO.Format = format
	switch mode := console.ColorMode(ctx.String("color")); mode {
	case console.ColorAuto, console.ColorAlways, console.ColorNever:
		e.IO.SetColor(mode, e.getenv)
	default:
		return fail.Usagef("have: auto, always, never", "--color: unknown value %q", string(mode))
	}
	e.flags = settings{
		outboxDB: ctx.String("outbox-db"), inboxDB: ctx.String("inbox-db"), amqpURL: ctx.String("amqp-url"),
		ordersURL: ctx.String("orders-url"), notificationsURL: ctx.String("notifications-url"),
		queue: ctx.String("queue"), queueGiven: ctx.IsSet("queue"), consumer: ctx.String("consumer"),
		retryDelays: ctx.String("retry-delays"), managementURL: ctx.String("management-url"),
	}
	if e.flags.queue == "" {
		return fail.Usagef("", "--queue: is empty")
	}
	if e.flags.consumer == "" {
		return fail.Usagef("", "--consumer: is empty")
	}
	return nil
}

func version() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " " + s.Value[:12]
		}
	}
	return v
}

// revisionDate is the day of the commit that was built; empty: not known.
func revisionDate() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
			return at.Format(time.DateOnly)
		}
	}
	return ""
}

func versionCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version with its commit",
		Action: func(*cli.Context) error {
			v := struct{ version, goVersion string }{version(), goVersion()}
			type T = struct{ version, goVersion string }
			return console.RenderOne(env.IO, []console.Column[T]{
				{Key: "version", Value: func(v T) any { return v.version }, ID: true},
				{Key: "go", Value: func(v T) any { return v.goVersion }},
			}, v)
		},
	}
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}

// oneArg returns the only positional argument of a command.
func oneArg(ctx *cli.Context, what string) (string, error) {
	switch ctx.NArg() {
	case 1:
		return ctx.Args().First(), nil
	case 0:
		return "", fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "no %s given", what)
	}
	return "", fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "one %s expected, got %d", what, ctx.NArg())
}
