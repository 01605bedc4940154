// Package dlq implements the command dlq: dead letters.
package dlq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// Command returns the command.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "dlq", Usage: "find out why messages are dead letters, and move, discard or keep them",
		Subcommands: []*cli.Command{
			listCommand(e), statsCommand(e), showCommand(e),
			healCommand(e), requeueCommand(e), discardCommand(e), exportCommand(e), importCommand(e),
		},
	}
}

// queueFlags choose the dead-letter queues.
func queueFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dead-letters", Usage: "`NAME` of the dead-letter queue (default: that of --queue, with .dlq at the end)"},
		&cli.BoolFlag{Name: "all-queues", Usage: "all queues whose names end with .dlq; needs the management API"},
	}
}

// filterFlags choose letters.
func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "group-id", Usage: "only letters of this `GROUP`, as dlq stats names it"},
		&cli.StringFlag{Name: "failure", Usage: "only this `REASON`, such as handler or undecodable"},
		&cli.StringFlag{Name: "error", Usage: "only those whose last error contains `TEXT`"},
		&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
		&cli.StringFlag{Name: "type", Usage: "only this event `TYPE`"},
		&cli.StringFlag{Name: "key", Usage: "only this ordering `KEY`"},
		&cli.StringFlag{Name: "by", Usage: "only those that this `CONSUMER` dead-lettered"},
		env.SinceFlag(),
		&cli.StringFlag{Name: "until", Usage: "only those that failed before `WHEN`, as for --since"},
		&cli.IntFlag{Name: "min-attempts", Usage: "only those that failed at least `N` times"},
		&cli.IntFlag{Name: "max-attempts", Usage: "only those that failed at most `N` times"},
	}
}

// readFilter reads filterFlags, and ids among the arguments.
func readFilter(ctx *cli.Context, e *env.Env) (f deadletters.Filter, err error) {
	f = deadletters.Filter{
		Group: ctx.String("group-id"), Reason: ctx.String("failure"), Error: ctx.String("error"), Topic: ctx.String("topic"), Type: ctx.String("type"),
		Key: ctx.String("key"), Consumer: ctx.String("by"), MinAttempts: ctx.Int("min-attempts"), MaxAttempts: ctx.Int("max-attempts"),
	}
	if f.Since, err = e.ParseSince(ctx.String("since")); err != nil {
		return f, err
	}
	if f.Until, err = e.ParseSince(ctx.String("until")); err != nil {
		return f, fail.Usagef("for example: --until 15m, --until 2026-01-31T08:00:00Z", "--until: %q is neither a duration nor a time", ctx.String("until"))
	}
	for _, name := range []string{"min-attempts", "max-attempts"} {
		if ctx.IsSet(name) && ctx.Int(name) < 1 {
			return f, fail.Usagef("", "--%s: %d is less than 1", name, ctx.Int(name))
		}
	}
	if ctx.Args().Present() {
		f.Refs, err = readRefs(ctx, e)
	}
	return f, err
}

// readRefs reads the ids among the arguments; "-" stands for those on stdin.
func readRefs(ctx *cli.Context, e *env.Env) (map[string]bool, error) {
	refs := make(map[string]bool)
	for _, arg := range ctx.Args().Slice() {
		if arg != "-" {
			refs[arg] = true
			continue
		}
		for id, err := range env.EachID(e.IO.In) {
			if err != nil {
				return nil, err
			}
			refs[id] = true
		}
	}
	return refs, nil
}

// chosen returns an error unless the letters of an intervention were chosen: by
// ids, a filter, or --all.
func chosen(ctx *cli.Context, f deadletters.Filter) error {
	all := ctx.Bool("all")
	switch {
	case all && !f.All():
		return fail.Usagef("", "give ids, a filter or --all, not both")
	case !all && f.All():
		return fail.Usagef(fmt.Sprintf("run: %s %s, or add --group-id GROUP as dlq stats prints it, or --all", ctx.Command.HelpName, ctx.Command.ArgsUsage), "no letters chosen")
	}
	return nil
}

// target returns the queues that are meant.
func target(ctx *cli.Context, e *env.Env) ([]deadletters.Queue, error) {
	reader, err := e.ConsumerQueues(ctx.Context)
	if err != nil {
		return nil, err
	}
	one := deadletters.Queue{Source: reader.Source, Name: ctx.String("dead-letters")}
	if !ctx.Bool("all-queues") {
		return []deadletters.Queue{one}, nil
	}
	if one.Name != "" {
		return nil, fail.Usagef("", "give --dead-letters or --all-queues, not both")
	}
	api, err := e.Management()
	if err == nil && api == nil {
		err = fail.Usagef("set --management-url or PULSE_MANAGEMENT_URL", "--all-queues: the management API is not given")
	}
	if err != nil {
		return nil, err
	}
	described, err := api.Describe(ctx.Context)
	if err != nil {
		return nil, fail.Wrap("cannot list the queues", err)
	}
	var all []deadletters.Queue
	for _, q := range described {
		if name, is := strings.CutSuffix(q.Name, ".dlq"); is && name != "" {
			source := reader.Source
			source.Queue = name
			all = append(all, deadletters.Queue{Source: source, Name: q.Name})
		}
	}
	return all, nil
}

// reading runs work on each queue, and shows how far it has come.
func reading(ctx context.Context, e *env.Env, what string, queues []deadletters.Queue, work func(deadletters.Queue) error) error {
	return readingWith(ctx, e, func() string { return what }, queues, work)
}

// readingWith is reading with a text that changes.
func readingWith(ctx context.Context, e *env.Env, what func() string, queues []deadletters.Queue, work func(deadletters.Queue) error) error {
	var seen, total atomic.Int64
	line := func() string {
		if n := total.Load(); n > 0 {
			return fmt.Sprintf("%s: %s of %s letters looked at", what(), reconcile.Thousands(seen.Load()), reconcile.Thousands(n))
		}
		return what()
	}
	return e.IO.Wait(ctx, line, func(io.Writer) error {
		for _, q := range queues {
			q.Progress = func(s, t int) {
				seen.Store(int64(s))
				total.Store(int64(t))
			}
			if err := work(q); err != nil {
				return err
			}
		}
		return nil
	})
}

// audit returns where interventions are recorded: in the outbox's database, if one is
// given. It says on stderr why they are not.
func audit(ctx context.Context, e *env.Env, reason string) deadletters.Audit {
	given, err := e.Given()
	if err != nil || !given.Outbox {
		return deadletters.Audit{}
	}
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		notRecorded(e, err)
		return deadletters.Audit{}
	}
	operator := ob.Operator(e.Actor(), reason)
	return deadletters.Audit{Operator: &operator}
}

func notRecorded(e *env.Env, err error) {
	switch {
	case err == nil:
	case errors.Is(err, outbox.ErrSchema):
		e.IO.Notef("not recorded in the outbox's audit: its tables are missing or behind: pulsectl migrate up")
	default:
		e.IO.Notef("not recorded in the outbox's audit: %v", err)
	}
}

// applied returns how to ask the inbox what was applied; nil where none is given or
// it does not answer, which is said on stderr.
func applied(ctx context.Context, e *env.Env) func(context.Context, []string) (map[string]bool, error) {
	given, err := e.Given()
	if err != nil || !given.Inbox {
		return nil
	}
	in, _, err := e.Inbox(ctx)
	if err == nil {
		err = in.CheckSchema(ctx)
	}
	if err != nil {
		e.IO.Notef("which events are applied already is not known: %v", err)
		return nil
	}
	return in.Applied
}
