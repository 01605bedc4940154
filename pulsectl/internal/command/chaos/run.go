// Package chaos implements the command chaos run.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const description = "Starts a service that takes orders, relays, consumers and a broker, each a process of its own, on SQLite " +
	"files in a temporary directory, or on given servers; places orders, injects random faults, heals them, waits until all is handled, " +
	"and judges what was recorded. Nothing has to be installed. The same seed gives the same faults.\n" +
	"Exit code 1: the verdict is not clean; 7: the system did not settle in time."

// processCommand is the hidden command of the processes of a run.
const processCommand = "process"

// Commands returns the subcommands run and process of chaos.
func Commands(e *env.Env) []*cli.Command {
	return []*cli.Command{
		{
			Name: "run", Usage: "attack a system of its own with random faults, and judge what came of it",
			Description: description,
			Flags:       flags(),
			Action: func(ctx *cli.Context) error {
				o, err := readOptions(ctx)
				if err != nil {
					return err
				}
				return o.run(ctx.Context, e)
			},
		},
		{
			Name: processCommand, Usage: "be one of the processes of chaos run", Hidden: true,
			Action: func(ctx *cli.Context) error {
				return process.Run(ctx.Context, e.Getenv, os.Stdin, e.IO.Out, e.IO.Err)
			},
		},
	}
}

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "seed", Usage: "`N` decides which faults there are, when and for how long (default: a new one)", DefaultText: " "},
		&cli.DurationFlag{Name: "duration", Value: time.Minute, Usage: "`DURATION` of load and faults"},
		&cli.StringFlag{Name: "rate", Value: "100/s", Usage: "`RATE` of orders, such as 200/s"},
		&cli.StringFlag{Name: "faults", Usage: "`LIST` of faults and groups, such as relay,broker-kill (default: all); none: no faults"},
		&cli.IntFlag{Name: "relays", Value: 2, Usage: "`N` relays"},
		&cli.IntFlag{Name: "consumers", Value: 2, Usage: "`N` consumers"},
		&cli.DurationFlag{Name: "settle", Value: 2 * time.Minute, Usage: "`DURATION` that the system may take to settle after the last fault"},
		&cli.StringFlag{Name: "target", Value: "embedded", Usage: "`SERVERS`: embedded; external: the PostgreSQL and the RabbitMQ given by --outbox-db, --inbox-db and --amqp-url; their URLs, separated by commas; or compose: those of the stack that pulsectl up --stack compose has started"},
		&cli.StringFlag{Name: "replay", Usage: "repeat the run whose JSON is in `FILE`, with its faults"},
		&cli.IntFlag{Name: "shrink", Usage: "after a violation, look in up to `N` runs for a part of the faults that suffices"},
		&cli.StringFlag{Name: "keep", Usage: "keep report, history and logs in `DIR` (default: only if the verdict is not clean)"},
	}
}

type options struct {
	config chaos.Config
	target string
	faults string
	replay string
	keep   string
	shrink int // runs
}

func readOptions(ctx *cli.Context) (o options, err error) {
	o = options{target: ctx.String("target"), faults: ctx.String("faults"), replay: ctx.String("replay"), keep: ctx.String("keep"), shrink: ctx.Int("shrink")}
	o.config = chaos.Config{
		Seed: ctx.Uint64("seed"), Duration: ctx.Duration("duration"), Relays: ctx.Int("relays"), Consumers: ctx.Int("consumers"),
		SettleLimit: ctx.Duration("settle"),
	}
	c := &o.config
	if o.shrink < 0 {
		return o, fail.Usagef("", "--shrink: %d is negative", o.shrink)
	}
	if !ctx.IsSet("seed") {
		c.Seed = uint64(time.Now().UnixMilli()) % 1_000_000 // short enough to be typed
	}
	if o.replay != "" {
		for _, flag := range []string{"seed", "duration", "rate", "faults", "relays", "consumers"} {
			if ctx.IsSet(flag) {
				return o, fail.Usagef("", "--%s cannot be combined with --replay: the file says it", flag)
			}
		}
	}
	if c.Rate, err = strconv.Atoi(strings.TrimSuffix(ctx.String("rate"), "/s")); err != nil || c.Rate < 1 || c.Rate > 10_000 {
		return o, fail.Usagef("for example: --rate 200/s", "--rate: %q is not between 1/s and 10000/s", ctx.String("rate"))
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"relays", c.Relays}, {"consumers", c.Consumers}} {
		if n.value < 1 || n.value > 16 {
			return o, fail.Usagef("", "--%s: %d is not between 1 and 16", n.flag, n.value)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"duration", c.Duration}, {"settle", c.SettleLimit}} {
		if d.value < time.Second || d.value > 24*time.Hour {
			return o, fail.Usagef("", "--%s: %v is not between 1s and 24h", d.flag, d.value)
		}
	}
	return o, nil
}

// complete chooses the servers, the faults, and the directory.
func (o *options) complete(ctx context.Context, e *env.Env) (err error) {
	c := &o.config
	if o.target != "embedded" {
		if c.Servers, err = servers(ctx, e, o.target); err != nil {
			return err
		}
		if err := c.Servers.Check(); err != nil {
			return fail.Usagef("", "--target %s: %v", kindOf(o.target), err)
		}
		if err := c.Servers.Probe(ctx); err != nil {
			return fail.CannotReach("outbox or inbox database", err)
		}
	}
	switch {
	case o.replay != "":
		text, err := os.ReadFile(o.replay)
		if err != nil {
			return fail.Wrap("cannot read the run", err)
		}
		if err := c.Repeat(text); err != nil {
			return fail.Usagef("save one with: pulsectl chaos run -o json > "+console.Quoted(o.replay), "--replay %s: %v", o.replay, err)
		}
	case o.faults == "none":
		c.Faults = []chaos.Fault{}
	default:
		if c.Kinds, err = chaos.ParseKinds(o.faults, c.Known()); err != nil {
			return fail.Usagef("run: pulsectl chaos run --help", "--faults: %v", err)
		}
		c.Faults = c.Plan().Schedule()
	}
	if err := chaos.Validate(c.Faults, c.Known(), c.Targets()); err != nil {
		return fail.Usagef("", "--replay %s: %v", o.replay, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.Process = func() *exec.Cmd { return exec.Command(self, "chaos", processCommand) }
	if o.keep != "" {
		c.Dir, err = filepath.Abs(o.keep)
		return errors.Join(err, os.MkdirAll(c.Dir, 0o700))
	}
	c.Dir, err = os.MkdirTemp("", "pulse-chaos-")
	return err
}

func (o options) run(ctx context.Context, e *env.Env) (err error) {
	if err := o.complete(ctx, e); err != nil {
		return err
	}
	kept := o.keep != ""
	defer func() {
		if !kept {
			err = errors.Join(err, os.RemoveAll(o.config.Dir))
		}
	}()
	c := &o.config
	e.IO.Notef("seed %d: %d faults in %s, %d orders/s, %d relays, %d consumers", c.Seed, len(c.Faults), clip.Duration(c.Duration), c.Rate, c.Relays, c.Consumers)
	if left := c.LeftOut(); len(left) > 0 && o.replay == "" && o.faults == "" {
		e.IO.Notef("left out, as they need more than the URLs (docs/chaos.md): %s", list(left))
	}
	c.Told = func(event chaos.Event) { e.IO.Notef("%7.2fs  %s", event.At.Seconds(), event.Text) }
	result, err := chaos.Run(ctx, *c)
	if err != nil {
		kept = true
		return errors.Join(fail.Wrap("the run has no verdict; logs are in "+c.Dir, err))
	}
	verdict := result.Verdict()
	kept = kept || verdict != check.Clean
	if kept {
		if err := save(c.Dir, result); err != nil {
			return err
		}
	}
	if err := console.RenderOne(e.IO, columns, result); err != nil {
		return err
	}
	if !e.IO.Structured() {
		explain(e, result)
	}
	if verdict == check.Violated && o.shrink > 0 {
		if err := shrink(ctx, e, *c, o.shrink); err != nil {
			return err
		}
	}
	hint := "repeat it: pulsectl chaos run --replay " + console.Quoted(filepath.Join(c.Dir, reportFile))
	switch verdict {
	case check.Clean:
		return nil
	case check.Unsettled:
		return fail.New(fail.Timeout, hint, "it has not settled within %s: %s", clip.Duration(c.SettleLimit), result.Waiting)
	}
	if why := result.Unproven(); why != "" {
		return fail.New(fail.General, hint, "the run proves nothing: %s; logs and history are in %s", why, c.Dir)
	}
	return fail.New(fail.General, hint, "the verdict is %s; logs and history are in %s", verdict, c.Dir)
}

func list(kinds []chaos.Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

// explain says for people what the columns cannot.
func explain(e *env.Env, r *chaos.Result) {
	for _, f := range r.Report.Findings {
		e.IO.Println("")
		e.IO.Para(e.IO.Paint(console.Bad, string(f.Kind))+"  ", fmt.Sprintf("%d: %s", len(f.IDs), f.Kind.Meaning()))
		for _, id := range f.IDs[:min(shownIDs, len(f.IDs))] {
			e.IO.Println("  " + id)
		}
	}
	for _, crash := range r.Crashes {
		e.IO.Println(crash)
	}
	for _, f := range r.Faults {
		if f.Error != "" {
			e.IO.Println(fmt.Sprintf("%s %s: %s", f.Kind, f.Target, f.Error))
		}
	}
}

const shownIDs = 10
