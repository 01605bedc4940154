// Package doctor implements the command doctor: one look at everything, with
// what to do about each finding.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/stacks"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/diagnosis"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const day = 24 * time.Hour

// options are the flags of doctor.
type options struct {
	diagnosis.Options
	ignore  []string
	timeout time.Duration
	version string // of pulsectl
}

// Command returns the command doctor. version is that of pulsectl.
func Command(e *env.Env, version string) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "look at everything and say what to do next; exit 1 if there are warnings, 2 if something fails",
		Description: "It changes nothing. What it cannot see it reports as unknown, which does not affect the exit code.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "exchange", Usage: "`NAME` of the exchange (default: pulse.events)"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "leave out the findings of `CHECK`, such as outbox.pooler; repeatable"},
			&cli.BoolFlag{Name: "read-dead-letters", Usage: "read the reasons of dead letters: takes them from their queue and puts them back, as verify does"},
			&cli.IntFlag{Name: "lanes", Value: 4, Usage: "each relay has `N` lanes (RelayConfig.Lanes)"},
			&cli.IntFlag{Name: "workers", Value: 4, Usage: "each consumer has `N` workers (ConsumerConfig.Workers)"},
			&cli.DurationFlag{Name: "outbox-retention", Value: outbox.DefaultRetention, Usage: "the outbox keeps published messages for `DURATION`"},
			&cli.DurationFlag{Name: "inbox-retention", Value: 30 * day, Usage: "the inbox keeps applied events for `DURATION`"},
			&cli.DurationFlag{Name: "replay-horizon", Value: 7 * day, Usage: "events are replayed for `DURATION`"},
			&cli.DurationFlag{Name: "old-snapshot", Value: 5 * time.Minute, Usage: "report transactions that are open for longer than `DURATION`"},
			&cli.DurationFlag{Name: "expiry", Value: 30 * day, Usage: "report certificates that expire within `DURATION`"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "look for at most `DURATION`; the rest is unknown"},
		},
		Action: func(ctx *cli.Context) error {
			o, err := parse(ctx)
			if err != nil {
				return err
			}
			o.version = version
			return o.run(ctx.Context, e)
		},
	}
}

func parse(ctx *cli.Context) (options, error) {
	o := options{timeout: ctx.Duration("timeout"), Options: diagnosis.Options{
		Lanes: ctx.Int("lanes"), Workers: ctx.Int("workers"), Exchange: cmp.Or(ctx.String("exchange"), wire.Exchange),
		OutboxRetention: ctx.Duration("outbox-retention"), InboxRetention: ctx.Duration("inbox-retention"), ReplayHorizon: ctx.Duration("replay-horizon"),
		OldSnapshot: ctx.Duration("old-snapshot"), Expiry: ctx.Duration("expiry"), ReadDeadLetters: ctx.Bool("read-dead-letters"),
	}}
	for _, name := range []string{"outbox-retention", "inbox-retention", "replay-horizon", "old-snapshot", "expiry", "timeout"} {
		if ctx.Duration(name) <= 0 {
			return o, fail.Usagef("", "--%s: %s is not positive", name, ctx.Duration(name))
		}
	}
	for _, name := range []string{"lanes", "workers"} {
		if ctx.Int(name) <= 0 {
			return o, fail.Usagef("", "--%s: %d is not positive", name, ctx.Int(name))
		}
	}
	for _, given := range ctx.StringSlice("ignore") {
		for check := range strings.SplitSeq(given, ",") {
			o.ignore = append(o.ignore, strings.TrimSpace(check))
		}
	}
	return o, nil
}

func (o options) run(parent context.Context, e *env.Env) error {
	given, err := e.Given()
	if err != nil {
		return err
	}
	if given == (env.Servers{}) {
		return fail.Usagef("start a stack with pulsectl up, or set PULSE_OUTBOX_DB, PULSE_INBOX_DB, PULSE_AMQP_URL", "there is nothing to look at: no database and no broker given")
	}
	ctx, cancel := context.WithTimeout(parent, o.timeout)
	defer cancel()
	p := &patient{Env: e, o: o, given: given, report: &diagnosis.Report{}}
	err = e.IO.Wait(parent, func() string { return "databases and broker to answer" }, func(io.Writer) error {
		p.look(ctx)
		return nil
	})
	if err != nil {
		return err
	}
	if err := parent.Err(); err != nil {
		return err
	}
	return o.print(e.IO, p.report)
}

// print shows the findings, and returns the error with the exit code.
func (o options) print(out *console.IO, r *diagnosis.Report) error {
	for _, check := range o.ignore {
		if !slices.ContainsFunc(r.Findings, func(f diagnosis.Finding) bool { return f.Check == check }) {
			out.Notef("--ignore %s: there is no finding of that check", check)
		}
	}
	r.Findings = slices.DeleteFunc(r.Findings, func(f diagnosis.Finding) bool { return slices.Contains(o.ignore, f.Check) })
	if err := console.RenderList(out, console.List[diagnosis.Finding]{Columns: columns(out), Items: r.Findings}); err != nil {
		return err
	}
	out.Notef("%d fail, %d warn, %d ok, %d unknown", r.Count(diagnosis.Fail), r.Count(diagnosis.Warn), r.Count(diagnosis.OK), r.Count(diagnosis.Unknown))
	switch r.Worst() {
	case diagnosis.Warn:
		return &fail.Error{Kind: fail.General, Silent: true, Code: 1, Message: "there are warnings"}
	case diagnosis.Fail:
		return &fail.Error{Kind: fail.General, Silent: true, Code: 2, Message: "something fails"}
	}
	return nil
}

// columns puts detail and hint into one column of a table, which can be wrapped.
func columns(out *console.IO) []console.Column[diagnosis.Finding] {
	all := []console.Column[diagnosis.Finding]{
		{Key: "state", Value: func(f diagnosis.Finding) any { return string(f.State) }, Keep: 1, Tone: func(f diagnosis.Finding) console.Tone {
			switch f.State {
			case diagnosis.OK:
				return console.Good
			case diagnosis.Warn:
				return console.Warn
			case diagnosis.Fail:
				return console.Bad
			}
			return console.Dim
		}},
		{Key: "check", Value: func(f diagnosis.Finding) any { return f.Check }, ID: true},
	}
	if f := out.Resolved(); f == console.Table || f == console.Wide {
		return append(all, console.Column[diagnosis.Finding]{Key: "finding", Wrap: true, Value: func(f diagnosis.Finding) any {
			if f.Hint == "" {
				return f.Detail
			}
			return fmt.Sprintf("%s; next: %s", f.Detail, f.Hint)
		}})
	}
	return append(all,
		console.Column[diagnosis.Finding]{Key: "detail", Value: func(f diagnosis.Finding) any { return f.Detail }},
		console.Column[diagnosis.Finding]{Key: "hint", Value: func(f diagnosis.Finding) any { return f.Hint }})
}

// states maps those of the command status.
var states = map[string]diagnosis.State{
	stacks.StateOK: diagnosis.OK, stacks.StateDegraded: diagnosis.Warn, stacks.StateDown: diagnosis.Fail, stacks.StateNotGiven: diagnosis.Unknown,
}
