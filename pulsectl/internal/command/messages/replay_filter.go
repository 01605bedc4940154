package messages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
	"github.com/asimalizada/pulse-events/pulsectl/internal/replay"
)

// selectionFlags select messages of replay by what they are; any of them replaces
// the ids.
var selectionFlags = []string{"from", "to", "topic", "key", "type", "correlation-id"}

func replayFilterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "messages enqueued at `WHEN` or later: a duration such as 2h (ago), or a time in RFC 3339"},
		&cli.StringFlag{Name: "to", Usage: "messages enqueued before `WHEN`"},
		&cli.StringFlag{Name: "topic", Usage: "messages of this `TOPIC`"},
		&cli.StringFlag{Name: "key", Usage: "messages of this ordering `KEY`"},
		&cli.StringFlag{Name: "type", Usage: "messages of this event `TYPE`"},
		&cli.StringFlag{Name: "correlation-id", Usage: "messages of this correlation `ID`"},
		&cli.IntFlag{Name: "limit", Usage: "by filter: at most `N` messages (default: all)", DefaultText: " "},
		&cli.IntFlag{Name: "rate", Usage: "by filter: at most `N` a second (default: as many as there can be)", DefaultText: " "},
		&cli.Int64Flag{Name: "after", Usage: "by filter: go on after the message with this `NUMBER`, as an interrupted replay prints it", DefaultText: " "},
		&cli.BoolFlag{Name: "resume", Usage: "by filter: go on where an earlier replay with the same filter was killed or interrupted"},
		&cli.DurationFlag{Name: "wait", Value: 30 * time.Second, Usage: "by filter: wait for at most `DURATION` until the copies are applied"},
	}
}

// filtered reports whether messages are selected by filter.
func filtered(ctx *cli.Context) bool {
	for _, name := range selectionFlags {
		if ctx.IsSet(name) {
			return true
		}
	}
	return false
}

// readFilter reads the flags of a replay by filter.
func readFilter(ctx *cli.Context, e *env.Env) (o replayFilter, err error) {
	o = replayFilter{
		run: replay.Run{Limit: ctx.Int("limit"), Rate: ctx.Int("rate"), Wait: ctx.Duration("wait"), DryRun: ctx.Bool("dry-run")},
		query: outbox.ListQuery{Topic: ctx.String("topic"), Key: ctx.String("key"), Type: ctx.String("type"),
			CorrelationID: ctx.String("correlation-id"), After: ctx.Int64("after")},
		reason: ctx.String("reason"), resume: ctx.Bool("resume"), filter: make(map[string]string),
	}
	for _, name := range selectionFlags {
		if ctx.IsSet(name) {
			o.filter[name] = ctx.String(name)
		}
	}
	for _, name := range []string{"limit", "rate", "after"} {
		if ctx.IsSet(name) && ctx.Int64(name) < 1 {
			return o, fail.Usagef("", "--%s: %d is not positive", name, ctx.Int64(name))
		}
	}
	switch {
	case ctx.Args().Present():
		return o, fail.Usagef("", "give ids or a filter, not both")
	case ctx.Int("times") != 1:
		return o, fail.Usagef("", "--times: a filter publishes one copy of each message")
	case o.run.Wait < 0:
		return o, fail.Usagef("", "--wait: %s is negative", o.run.Wait)
	case o.resume && o.query.After > 0:
		return o, fail.Usagef("", "--resume knows where to go on: leave out --after")
	}
	for _, bound := range []struct {
		flag string
		at   *time.Time
	}{{"from", &o.query.Since}, {"to", &o.query.Until}} {
		if *bound.at, err = e.ParseSince(ctx.String(bound.flag)); err != nil {
			return o, fail.Usagef("for example: --from 2h, --to 2026-01-31T08:00:00Z", "--%s: %q is neither a duration nor a time", bound.flag, ctx.String(bound.flag))
		}
	}
	oldest := e.IO.Now().Add(-ctx.Duration("replay-horizon"))
	if !ctx.Bool("force") {
		if o.run.Since = oldest; !o.query.Since.IsZero() && o.query.Since.Before(oldest) {
			return o, fail.Usagef("add --force if every consumer still remembers them, or should apply them again",
				"--from: is beyond the replay horizon of %s: inboxes may have forgotten these events", ctx.Duration("replay-horizon"))
		}
	}
	if since, until := o.query.Since, o.query.Until; !since.IsZero() && !until.IsZero() && !since.Before(until) {
		return o, fail.Usagef("", "--from is not before --to")
	}
	return o, nil
}

// replayFilter is a replay by filter.
type replayFilter struct {
	run    replay.Run
	query  outbox.ListQuery
	filter map[string]string
	reason string
	resume bool
}

// replayOutcome is the result of a replay by filter.
type replayOutcome struct {
	replay.Result
	known, dryRun bool
}

func outcomeColumn(key string, value func(replay.Result) int) console.Column[replayOutcome] {
	return console.Column[replayOutcome]{Key: key, Value: func(o replayOutcome) any {
		if !o.known {
			return nil
		}
		return value(o.Result)
	}}
}

var replayOutcomeColumns = []console.Column[replayOutcome]{
	{Key: "replayed", Value: func(o replayOutcome) any { return o.Published }},
	{Key: "events", Value: func(o replayOutcome) any { return o.Events }},
	{Key: "failed", Value: func(o replayOutcome) any { return o.Failed }},
	{Key: "refused", Value: func(o replayOutcome) any { return o.Refused }},
	outcomeColumn("applied", func(r replay.Result) int { return r.Applied }),
	outcomeColumn("duplicates", func(r replay.Result) int { return r.Duplicates }),
	outcomeColumn("deadLettered", func(r replay.Result) int { return r.DeadLettered }),
	outcomeColumn("unsettled", func(r replay.Result) int { return r.Unsettled }),
	{Key: "after", Value: func(o replayOutcome) any { return o.After }},
	{Key: "dryRun", Value: func(o replayOutcome) any { return o.dryRun }},
}

func (o replayFilter) do(ctx context.Context, e *env.Env) error {
	r := o.run
	var err error
	if r.Outbox, _, err = e.Outbox(ctx); err != nil {
		return err
	}
	given, err := e.Given()
	if err != nil {
		return err
	}
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	file := replay.StateFile(dir, o.filter)
	state, kept, err := replay.ReadState(file)
	if err != nil {
		return err
	}
	r.Query = o.query
	switch {
	case o.resume && !kept:
		return fail.New(fail.NotFound, "run it without --resume", "no replay with this filter was interrupted")
	case o.resume:
		r.Query.After = state.After
	case kept && r.Query.After == 0:
		e.IO.Notef("an earlier replay with this filter has ended after %s messages (%s); to go on there: --resume", reconcile.Thousands(state.Published), e.IO.When(state.At))
	}
	if !r.DryRun {
		if r.Publisher, err = e.Publisher(); err != nil {
			return err
		}
		if given.Inbox {
			if r.Inbox, _, err = e.Inbox(ctx); err != nil {
				return err
			}
			q, err := e.QueuesOf(ctx, r.Inbox)
			if err != nil {
				return err
			}
			r.DeadLetters = func(ctx context.Context, since time.Time, each func(string)) error {
				return q.Inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
					return i.DeadLetters(ctx, func(d inboxrabbit.DeadLetter) error {
						if !d.LastFailedAt.Before(since) {
							each(d.ID)
						}
						return nil
					})
				})
			}
		}
		r.Record = o.recorder(e, r.Outbox)
	}
	var done atomic.Int64
	r.Save = func(now replay.Result) error {
		done.Store(int64(now.Published))
		return replay.State{Filter: o.filter, After: now.After, Published: now.Published, At: e.IO.Now()}.Write(file)
	}
	line := func() string { return fmt.Sprintf("the replay: %s published so far", reconcile.Thousands(done.Load())) }
	var result replay.Result
	err = e.IO.Wait(ctx, line, func(io.Writer) error {
		result, err = r.Do(ctx)
		return err
	})
	out := replayOutcome{Result: result, known: r.Inbox != nil, dryRun: r.DryRun}
	if err == nil && !r.DryRun && result.Failed == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return o.conclude(ctx, e, out, err)
}

// recorder adds what is about to be published to the audit table.
func (o replayFilter) recorder(e *env.Env, ob *outbox.Outbox) func(context.Context, []string) error {
	var entry *outbox.Recorded
	return func(ctx context.Context, ids []string) (err error) {
		if entry == nil {
			entry, err = ob.Operator(e.Actor(), o.reason).Record(ctx, outbox.ActionReplay, o.filter)
		}
		if err == nil {
			err = entry.Add(ctx, ids...)
		}
		return fail.Wrap("cannot record the replay in the audit table, and so does not replay", err)
	}
}

func (o replayFilter) conclude(ctx context.Context, e *env.Env, out replayOutcome, err error) error {
	goOn := "to go on: the same command with --resume, or with --after " + strconv.FormatInt(out.After, 10)
	switch {
	case ctx.Err() != nil:
		return fail.New(fail.Interrupted, goOn, "interrupted; %s messages were published again", reconcile.Thousands(out.Published))
	case err != nil:
		f := fail.From(err)
		return &fail.Error{Kind: f.Kind, Message: fmt.Sprintf("%s messages were published again, and no more", reconcile.Thousands(out.Published)), Cause: err, Hint: goOn}
	}
	if err := console.RenderOne(e.IO, replayOutcomeColumns, out); err != nil {
		return err
	}
	for _, reason := range out.Reasons {
		e.IO.Notef("%v", reason)
	}
	if n := out.Failed + out.Refused + out.DeadLettered; n > 0 {
		return &fail.Error{Kind: fail.Partial, Message: fmt.Sprintf("%s of %s messages were refused, not published or dead-lettered", reconcile.Thousands(n), reconcile.Thousands(out.Events))}
	}
	return nil
}
