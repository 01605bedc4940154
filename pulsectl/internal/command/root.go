// Package command assembles pulsectl from its commands, and implements what
// concerns all of them: help, manual, completion, usage errors, signals. The
// commands are in the packages below. One with more than one setting has an
// options struct with a run method. Package env holds what they share.
package command

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/argv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/bench"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/contract"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/demo"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/dlq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/doctor"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/relay"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/stacks"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/token"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/top"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/verify"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/web"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Version is set by the linker; unset, the module's own version is shown.
var Version string

// Run executes one command line, args[0] being the program's name, and returns
// the exit code. getenv reads the environment.
func Run(ctx context.Context, args []string, out *console.IO, getenv func(string) string) int {
	e := &env.Env{IO: out, Getenv: getenv}
	app := newApp(e)
	if len(args) > 1 && args[1] == completeWord {
		complete(e, app, args[2:])
		return 0
	}
	args = argv.Normalise(app, args)
	err := app.RunContext(ctx, args)
	err = errors.Join(err, e.Close())
	if err == nil {
		return 0
	}
	f := fail.From(err)
	code := f.ExitCode()
	if signal, ok := errors.AsType[signaled](context.Cause(ctx)); ok && !f.Final {
		if code = signal.exitCode(); f.Kind != fail.Interrupted {
			f = &fail.Error{Kind: fail.Interrupted, Message: "interrupted", Cause: f}
		}
	}
	if f.Kind != fail.Interrupted && argv.Command(app, args) == "check" {
		f = check.Failed(out, f)
		code = f.ExitCode()
	}
	out.Fail(f)
	return code
}

func newApp(e *env.Env) *cli.App {
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true} // without -v
	app := &cli.App{
		Name:  "pulsectl",
		Usage: "run, inspect and verify transactional messaging: outbox, inbox, broker",
		Description: "A message is published if and only if its transaction commits, and its effect\n" +
			"is applied once even when it arrives twice. pulsectl demonstrates, operates and verifies this.",
		Version:                   version(),
		Writer:                    e.IO.Out,
		ErrWriter:                 e.IO.Err,
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
			&cli.StringFlag{Name: "api-token-file", Usage: "`FILE` with the bearer token for both services (env PULSE_API_TOKEN_FILE, or PULSE_API_TOKEN with the token itself)"},
			&cli.StringFlag{Name: "queue", Value: "order.created", EnvVars: []string{"PULSE_QUEUE"}, Usage: "`NAME` of the queue that the inbox consumes"},
			&cli.StringFlag{Name: "consumer", Value: "notifications", EnvVars: []string{"PULSE_CONSUMER"}, Usage: "`NAME` of the consumer in processed_events"},
			&cli.StringFlag{Name: "retry-delays", EnvVars: []string{"PULSE_RETRY_DELAYS"}, Usage: "`DELAYS` of the consumer's retry queues, separated by commas; none: it has no retry queues (default: as the running consumer says, else those of inbox/rabbitmq)"},
			&cli.StringFlag{Name: "management-url", Usage: "base `URL` of RabbitMQ's management API, which shows unacknowledged messages, policies and bindings (env PULSE_MANAGEMENT_URL)"},
			cli.HelpFlag, // the library omits it if there is a command help
		},
		Before: e.ReadGlobals,
		Commands: slices.Concat(
			category("START HERE", demo.Command(e), stacks.Up(e), stacks.Down(e), stacks.Status(e), doctor.Command(e, version()), top.Command(e), web.Command(e)),
			category("ORDERS AND MESSAGES", append(messages.Commands(e), token.Command(e))...),
			category("DEAD LETTERS", dlq.Command(e)),
			category("CONTRACTS", contract.Command(e)),
			category("RELAY", relay.Command(e)),
			category("FAULTS AND PROOF", stacks.Chaos(e, chaos.Commands(e)...), verify.Command(e), check.Command(e), bench.Command(e)),
			category(aboutItself, helpCommand(e), completionCommand(e), manCommand(e), versionCommand(e)),
		),
	}
	cli.HelpPrinterCustom = func(_ io.Writer, _ string, data any, _ map[string]any) { printHelp(e, data) } // the library's own does not fit a terminal
	app.OnUsageError = usageError
	app.Action = groupAction("pulsectl", app.Commands, func(ctx *cli.Context) error {
		appHelp(e, ctx.App, true)
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

// harden gives every command what the library lacks: usage errors on stderr,
// and an error for unexpected arguments.
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

// groupAction returns the action of a command with subcommands: it prints them.
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

// revisionDate returns the date of the commit that was built, or "" if it is
// unknown.
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

func versionCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version with its commit",
		Action: func(*cli.Context) error {
			v := struct{ version, goVersion string }{version(), goVersion()}
			type T = struct{ version, goVersion string }
			return console.RenderOne(e.IO, []console.Column[T]{
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
