package env

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// LimitFlag returns --limit of lists.
func LimitFlag() cli.Flag {
	return &cli.IntFlag{Name: "limit", Value: sqldb.DefaultPage, Usage: "at most `N` rows, up to " + strconv.Itoa(sqldb.MaxPage)}
}

// CheckLimit checks the value of --limit.
func CheckLimit(n int) error {
	if n < 1 || n > sqldb.MaxPage {
		return fail.Usagef("", "--limit: %d is not between 1 and %d", n, sqldb.MaxPage)
	}
	return nil
}

// TimeoutFlag returns --timeout of commands that wait.
func TimeoutFlag(value time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: value, Usage: "give up after `DURATION` with exit code 7"}
}

// WatchFlags returns --watch and --interval of commands that call Watch.
func WatchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "watch", Usage: "show it again and again, on a terminal in place, until Ctrl-C; the exit code is that of the last look"},
		IntervalFlag(),
	}
}

// IntervalFlag returns --interval, for Interval.
func IntervalFlag() cli.Flag {
	return &cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "`DURATION` from one look to the next"}
}

// minInterval is how often servers may be asked at most.
const minInterval = 100 * time.Millisecond

// Interval returns the value of --interval.
func Interval(ctx *cli.Context) (time.Duration, error) {
	d := ctx.Duration("interval")
	if d < minInterval {
		return 0, fail.Usagef("for example: --interval 5s", "--interval: %s is less than %s", d, minInterval)
	}
	return d, nil
}

// Watch runs a command once, or again and again if --watch is set: each time
// with an Env of its own, because settings and stack may change meanwhile.
func (e *Env) Watch(ctx *cli.Context, run func(context.Context, *Env) error) error {
	interval, err := Interval(ctx)
	if err != nil {
		return err
	}
	if !ctx.Bool("watch") {
		if ctx.IsSet("interval") {
			return fail.Usagef("add: --watch", "--interval: nothing is watched")
		}
		return run(ctx.Context, e)
	}
	return e.IO.Watch(ctx.Context, interval, func(ctx context.Context, out *console.IO) error {
		again := e.Again(out)
		return errors.Join(run(ctx, again), again.Close())
	})
}

// SinceFlag returns --since of lists, for ParseSince.
func SinceFlag() cli.Flag {
	return &cli.StringFlag{Name: "since", Usage: "not older than `WHEN`: a duration such as 15m, or a time in RFC 3339"}
}

// ParseSince parses --since; empty gives the zero time.
func (e *Env) ParseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return e.IO.Now().Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	return time.Time{}, fail.Usagef("for example: --since 15m, --since 2026-01-31T08:00:00Z", "--since: %q is neither a duration nor a time", s)
}

// YesFlag returns --yes of commands that call Confirm.
func YesFlag() cli.Flag { return &cli.BoolFlag{Name: "yes", Usage: "do not ask"} }

// DryRunFlag returns --dry-run of commands that change several things.
func DryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be done, without doing it"}
}

// OneArg returns the only positional argument of a command.
func OneArg(ctx *cli.Context, what string) (string, error) {
	switch ctx.NArg() {
	case 1:
		return ctx.Args().First(), nil
	case 0:
		return "", fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "no %s given", what)
	}
	return "", fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "one %s expected, got %d", what, ctx.NArg())
}

// ReadGlobals reads and checks the flags that every command has.
func (e *Env) ReadGlobals(ctx *cli.Context) error {
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
		e.IO.SetColor(mode, e.Getenv)
	default:
		return fail.Usagef("have: auto, always, never", "--color: unknown value %q", string(mode))
	}
	e.Flags = Settings{
		OutboxDB: ctx.String("outbox-db"), InboxDB: ctx.String("inbox-db"), AMQPURL: ctx.String("amqp-url"),
		OrdersURL: ctx.String("orders-url"), NotificationsURL: ctx.String("notifications-url"),
		APITokenFile: ctx.String("api-token-file"),
		Queue:        ctx.String("queue"), QueueGiven: ctx.IsSet("queue"), Consumer: ctx.String("consumer"),
		RetryDelays: ctx.String("retry-delays"), ManagementURL: ctx.String("management-url"),
	}
	if e.Flags.Queue == "" {
		return fail.Usagef("", "--queue: is empty")
	}
	if e.Flags.Consumer == "" {
		return fail.Usagef("", "--consumer: is empty")
	}
	return nil
}
