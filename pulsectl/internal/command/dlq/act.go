package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// done is the outcome for one queue.
type done struct {
	deadletters.Report
	file string // of a discard
}

func doneColumns(verb string) []console.Column[done] {
	columns := []console.Column[done]{
		{Key: "queue", Value: func(d done) any { return d.Queue }, ID: true},
		{Key: verb, Value: func(d done) any { return d.Done }},
		{Key: "matched", Value: func(d done) any { return d.Matched }},
		{Key: "refused", Value: func(d done) any { return d.Refused }},
	}
	if verb == "discarded" {
		columns = append(columns, console.Column[done]{Key: "file", Value: func(d done) any { return orNull(d.file) }})
	} else {
		columns = append(columns,
			console.Column[done]{Key: "to", Value: func(d done) any { return d.To }},
			console.Column[done]{Key: "alreadyApplied", Value: func(d done) any {
				if d.AlreadyApplied < 0 {
					return nil
				}
				return d.AlreadyApplied
			}},
			console.Column[done]{Key: "overtook", Value: func(d done) any { return d.Overtook }, Wide: true})
	}
	return append(columns,
		console.Column[done]{Key: "seen", Value: func(d done) any { return d.Seen }, Wide: true},
		console.Column[done]{Key: "dryRun", Value: func(d done) any { return d.DryRun }})
}

// allFlag is for commands that change letters.
func allFlag() cli.Flag { return &cli.BoolFlag{Name: "all", Usage: "all letters of the queue"} }

func rateFlag() cli.Flag {
	return &cli.Float64Flag{Name: "rate", Usage: "at most `N` letters a second (default: as many as there can be)"}
}

func mostFlag() cli.Flag {
	return &cli.IntFlag{Name: "limit", Usage: "at most `N` letters (default: all that were chosen)"}
}

// checkPace checks --rate and --limit.
func checkPace(ctx *cli.Context) error {
	if ctx.IsSet("rate") && ctx.Float64("rate") <= 0 {
		return fail.Usagef("for example: --rate 50", "--rate: %v is not positive", ctx.Float64("rate"))
	}
	if ctx.IsSet("limit") && ctx.Int("limit") < 1 {
		return fail.Usagef("", "--limit: %d is less than 1", ctx.Int("limit"))
	}
	return nil
}

func requeueCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "requeue", Usage: "move dead letters back to their queue, where their attempts start again at zero", ArgsUsage: "ID... | -",
		Flags: slices.Concat(queueFlags(), filterFlags(), []cli.Flag{
			allFlag(), mostFlag(), rateFlag(),
			&cli.StringFlag{Name: "to", Usage: "another `DESTINATION`: the name of a queue, or EXCHANGE/KEY"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit of the outbox"},
			env.DryRunFlag(),
		}),
		Action: func(ctx *cli.Context) error {
			o := requeueOptions{limit: ctx.Int("limit"), rate: ctx.Float64("rate"), dryRun: ctx.Bool("dry-run"), reason: ctx.String("reason")}
			var err error
			if o.filter, err = readFilter(ctx, e); err != nil {
				return err
			}
			if err := cmp.Or(chosen(ctx, o.filter), checkPace(ctx)); err != nil {
				return err
			}
			if o.to, err = destination(ctx.String("to")); err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, e, queues)
		},
	}
}

// destination reads --to. A queue whose name contains a slash is reached by the
// default exchange, as /NAME.
func destination(text string) (deadletters.Destination, error) {
	exchange, key, is := strings.Cut(text, "/")
	switch {
	case text == "":
		return deadletters.Destination{}, nil
	case !is:
		return deadletters.Destination{Key: text}, nil
	case key == "" && exchange == "":
		return deadletters.Destination{}, fail.Usagef("for example: --to order.created, --to pulse.events/order.created", "--to: %q is neither a queue nor EXCHANGE/KEY", text)
	}
	return deadletters.Destination{Exchange: exchange, Key: key}, nil
}

type requeueOptions struct {
	filter deadletters.Filter
	to     deadletters.Destination
	limit  int
	rate   float64
	dryRun bool
	reason string
}

func (o requeueOptions) run(ctx context.Context, e *env.Env, queues []deadletters.Queue) error {
	r := deadletters.Requeue{
		Filter: o.filter, To: o.to, Limit: o.limit, Rate: o.rate, DryRun: o.dryRun, Applied: applied(ctx, e),
	}
	if !o.dryRun {
		r.Audit = audit(ctx, e, o.reason)
	}
	return act(ctx, e, "requeued", "", queues, func(q deadletters.Queue, tell func(*deadletters.Letter, error)) (deadletters.Report, error) {
		r.Done = tell
		return q.Requeue(ctx, r)
	})
}

// act runs an intervention on each queue, and renders what was done whatever has
// ended it.
func act(ctx context.Context, e *env.Env, verb, file string, queues []deadletters.Queue,
	do func(deadletters.Queue, func(*deadletters.Letter, error)) (deadletters.Report, error)) error {
	var all []done
	var moved atomic.Int64
	tell := func(_ *deadletters.Letter, err error) {
		if err == nil {
			moved.Add(1)
		}
	}
	what := func() string { return fmt.Sprintf("%s %s", reconcile.Thousands(moved.Load()), verb) }
	err := readingWith(ctx, e, what, queues, func(q deadletters.Queue) error {
		report, err := do(q, tell)
		d := done{Report: report}
		if report.Done > 0 {
			d.file = file
		}
		all = append(all, d)
		notRecorded(e, report.AuditErr)
		if err == nil && report.Interrupted {
			err = context.Cause(ctx)
		}
		return err
	})
	sum := 0
	var failures []deadletters.Failure
	for _, d := range all {
		sum += d.Done
		failures = append(failures, d.Failures...)
	}
	if err != nil && sum == 0 {
		return fail.Wrap("nothing was "+verb, err)
	}
	if err := console.RenderList(e.IO, console.List[done]{Columns: doneColumns(verb), Items: all}); err != nil {
		return err
	}
	for _, f := range failures {
		e.IO.Notef("%s: %v", f.Ref, f.Err)
	}
	switch {
	case ctx.Err() != nil:
		return fail.New(fail.Interrupted, "run the command again for the others", "interrupted; %s letters were %s", reconcile.Thousands(sum), verb)
	case err == nil && len(failures) > 0:
		return fail.New(fail.Partial, "", "letters were refused, and stay in the queue")
	}
	return err
}

func discardCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "discard", Usage: "remove dead letters for good, once they are written to a file", ArgsUsage: "ID... | -",
		Flags: slices.Concat(queueFlags(), filterFlags(), []cli.Flag{
			allFlag(), mostFlag(),
			&cli.StringFlag{Name: "reason", Usage: "`REASON`, required; kept in the file and in the audit of the outbox"},
			&cli.StringFlag{Name: "file", Usage: "write the letters to `PATH`, which must not exist (default: discarded-QUEUE-TIME.jsonl)"},
			&cli.BoolFlag{Name: "no-file", Usage: "do not write them"},
			env.YesFlag(), env.DryRunFlag(),
		}),
		Action: func(ctx *cli.Context) error {
			o := discardOptions{limit: ctx.Int("limit"), dryRun: ctx.Bool("dry-run"), ask: !ctx.Bool("yes"), reason: strings.TrimSpace(ctx.String("reason")),
				file: ctx.String("file"), noFile: ctx.Bool("no-file")}
			if o.reason == "" {
				return fail.Usagef("run: pulsectl dlq discard ID --reason \"test order\"", "--reason is missing")
			}
			if o.noFile && o.file != "" {
				return fail.Usagef("", "give --file or --no-file, not both")
			}
			var err error
			if o.filter, err = readFilter(ctx, e); err != nil {
				return err
			}
			if err := cmp.Or(chosen(ctx, o.filter), checkPace(ctx)); err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, e, queues)
		},
	}
}

type discardOptions struct {
	filter      deadletters.Filter
	limit       int
	dryRun, ask bool
	reason      string
	file        string // empty: one is named after queue and time
	noFile      bool
}

func (o discardOptions) run(ctx context.Context, e *env.Env, queues []deadletters.Queue) (err error) {
	d := deadletters.Discard{Filter: o.filter, Limit: o.limit, DryRun: o.dryRun, Reason: o.reason, By: e.Actor()}
	if !o.dryRun {
		d.Audit = audit(ctx, e, o.reason)
		if o.ask {
			if err := e.Confirm(o.question(queues)); err != nil {
				return err
			}
		}
	}
	name := ""
	if !o.noFile && !o.dryRun {
		if name = o.file; name == "" {
			name = fmt.Sprintf("discarded-%s-%s.jsonl", strings.Map(inFileName, queues[0].Source.Queue), e.IO.Now().UTC().Format("20060102T150405Z"))
		}
		file, err := newFile(name, "--file")
		if err != nil {
			return err
		}
		d.To = file
		defer func() {
			info, statErr := file.Stat()
			err = errors.Join(err, file.Close())
			if statErr == nil && info.Size() == 0 {
				_ = os.Remove(name) // nothing matched
			}
		}()
	}
	return act(ctx, e, "discarded", name, queues, func(q deadletters.Queue, tell func(*deadletters.Letter, error)) (deadletters.Report, error) {
		d.Done = tell
		return q.Discard(ctx, d)
	})
}

func (o discardOptions) question(queues []deadletters.Queue) string {
	which := "the chosen dead letters"
	if o.filter.All() {
		which = "all dead letters"
	}
	if o.filter.Refs != nil {
		which = fmt.Sprintf("%d dead letters", len(o.filter.Refs))
	}
	from := queues[0].QueueName()
	if len(queues) > 1 {
		from = fmt.Sprintf("%d queues", len(queues))
	}
	kept := ""
	if o.noFile {
		kept = ", without a file that has them"
	}
	return fmt.Sprintf("%s of %s will be removed for good%s: continue?", which, from, kept)
}

// inFileName replaces what is no letter, digit, dot or dash.
func inFileName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
		return r
	}
	return '_'
}

func importCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "publish letters that dlq export or dlq discard has written, as they were", ArgsUsage: "FILE | -",
		Flags: []cli.Flag{
			queueFlags()[0],
			&cli.StringFlag{Name: "to", Usage: "another `DESTINATION` than the dead-letter queue: the name of a queue, or EXCHANGE/KEY"},
			&cli.IntFlag{Name: "skip", Usage: "leave out the first `N` lines"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit of the outbox"},
			env.DryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			name, err := env.OneArg(ctx, "file")
			if err != nil {
				return err
			}
			im := deadletters.Import{Skip: ctx.Int("skip"), DryRun: ctx.Bool("dry-run")}
			if im.Skip < 0 {
				return fail.Usagef("", "--skip: %d is negative", im.Skip)
			}
			if im.To, err = destination(ctx.String("to")); err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			if !im.DryRun {
				im.Audit = audit(ctx.Context, e, ctx.String("reason"))
			}
			return importFile(ctx.Context, e, queues[0], name, im)
		},
	}
}

var importedColumns = []console.Column[deadletters.Imported]{
	{Key: "imported", Value: func(x deadletters.Imported) any { return x.Letters }},
	{Key: "lines", Value: func(x deadletters.Imported) any { return x.Lines }},
	{Key: "stripped", Value: func(x deadletters.Imported) any { return x.Stripped }},
	{Key: "to", Value: func(x deadletters.Imported) any { return x.To }},
	{Key: "dryRun", Value: func(x deadletters.Imported) any { return x.DryRun }},
}

func importFile(ctx context.Context, e *env.Env, q deadletters.Queue, name string, im deadletters.Import) error {
	from := e.IO.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fail.Usagef("", "%v", err)
		}
		defer file.Close()
		from = file
	}
	var lines atomic.Int64
	im.Done = func(n int) { lines.Store(int64(n)) }
	var result deadletters.Imported
	what := func() string {
		return fmt.Sprintf("the letters to be imported: %s lines so far", reconcile.Thousands(lines.Load()))
	}
	err := e.IO.Wait(ctx, what, func(io.Writer) (err error) {
		result, err = q.Import(ctx, from, im)
		return err
	})
	notRecorded(e, result.AuditErr)
	if err != nil && result.Letters == 0 {
		return fail.Wrap("nothing was imported", err)
	}
	if err := console.RenderOne(e.IO, importedColumns, result); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fail.New(fail.Interrupted, fmt.Sprintf("go on with --skip %d", result.Lines), "interrupted; %s letters were imported", reconcile.Thousands(result.Letters))
	}
	return err
}
