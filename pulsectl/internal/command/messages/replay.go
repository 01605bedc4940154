package messages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	maxTimes      = 1000
	replayWindow  = 500 // copies handed to the publisher at once
	replayHorizon = 7 * 24 * time.Hour
	publishLimit  = 30 * time.Second
)

// replayed is the result of replay.
type replayed struct {
	events, copies, failed int
	refused                int // events
	dryRun                 bool
}

var replayedColumns = []console.Column[replayed]{
	{Key: "replayed", Value: func(r replayed) any { return r.copies }},
	{Key: "events", Value: func(r replayed) any { return r.events }},
	{Key: "failed", Value: func(r replayed) any { return r.failed }},
	{Key: "refused", Value: func(r replayed) any { return r.refused }},
	{Key: "dryRun", Value: func(r replayed) any { return r.dryRun }},
}

type replayOptions struct {
	ids     []uuid.UUID
	times   int
	horizon time.Duration
	force   bool
	dryRun  bool
	reason  string
}

func replayCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "publish more copies of messages, with the same event ids: consumers with an inbox skip them",
		ArgsUsage: "ID... | - | --from WHEN --topic TOPIC ...",
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "times", Value: 1, Usage: "publish `N` copies of each"},
			&cli.DurationFlag{Name: "replay-horizon", Value: replayHorizon, Usage: "refuse events older than `DURATION`: inboxes may have forgotten them"},
			&cli.BoolFlag{Name: "force", Usage: "also replay events beyond the horizon"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table"},
			env.DryRunFlag(),
		}, replayFilterFlags()...),
		Action: func(ctx *cli.Context) error {
			if ctx.Duration("replay-horizon") <= 0 {
				return fail.Usagef("", "--replay-horizon: %s is not positive", ctx.Duration("replay-horizon"))
			}
			if filtered(ctx) {
				o, err := readFilter(ctx, e)
				if err != nil {
					return err
				}
				return o.do(ctx.Context, e)
			}
			ids, err := e.ChooseIDs(ctx, "")
			if err != nil {
				return err
			}
			o := replayOptions{ids: ids, times: ctx.Int("times"), horizon: ctx.Duration("replay-horizon"), force: ctx.Bool("force"), dryRun: ctx.Bool("dry-run"), reason: ctx.String("reason")}
			if o.times < 1 || o.times > maxTimes {
				return fail.Usagef("", "--times: %d is not between 1 and %d", o.times, maxTimes)
			}
			return o.run(ctx.Context, e)
		},
	}
}

// run publishes copies of the messages that can be replayed, and reports the
// others: a list of ids may contain some that do not exist or cannot be
// replayed.
func (o replayOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	r := &replaying{env: e, outbox: ob, options: o, result: replayed{dryRun: o.dryRun}}
	err = e.IO.Wait(ctx, r.line, func(io.Writer) error { return r.run(ctx) })
	if errors.Is(err, errAway) {
		err = nil
		r.result.failed = (len(o.ids)-r.result.refused)*o.times - r.result.copies
	}
	switch {
	case ctx.Err() != nil:
		return fail.New(fail.Interrupted, "what was published does no harm: consumers with an inbox skip copies",
			"interrupted; %s of %s events were replayed", reconcile.Thousands(r.result.events), reconcile.Thousands(len(o.ids)))
	case err != nil:
		return err
	}
	return r.conclude()
}

// replaying is one run of the command replay.
type replaying struct {
	env     *env.Env
	outbox  *outbox.Outbox
	options replayOptions
	result  replayed
	// The first errors of messages that were refused or could not be published.
	refused, failures []error
	done              atomic.Int64     // events
	recorded          *outbox.Recorded // nil: nothing was published yet
}

// shownFailures is how many refused messages are named.
const shownFailures = 10

func (r *replaying) line() string {
	return fmt.Sprintf("the copies to be published: %s of %s events so far", reconcile.Thousands(r.done.Load()), reconcile.Thousands(len(r.options.ids)))
}

// maxWindow limits the bodies that are in memory at once.
const maxWindow = 16 << 20

func (r *replaying) run(ctx context.Context) error {
	var window []outbox.Message
	size := 0
	flush := func() error {
		err := r.publish(ctx, window)
		window, size = window[:0], 0
		return err
	}
	for _, id := range r.options.ids {
		rec, err := r.outbox.Get(ctx, id)
		if err == nil {
			err = replayable(r.env, rec, r.options)
		} else if !errors.Is(err, outbox.ErrNotFound) {
			return fail.Wrap("cannot replay "+id.String(), err)
		}
		if err != nil {
			if r.result.refused++; len(r.refused) < shownFailures {
				r.refused = append(r.refused, fail.Wrap("cannot replay "+id.String(), err))
			}
			continue
		}
		window = append(window, rec.Message)
		if size += len(rec.Payload); len(window) == replayWindow || size > maxWindow {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// publish publishes each message of a window as often as requested.
func (r *replaying) publish(ctx context.Context, window []outbox.Message) error {
	if len(window) == 0 {
		return nil
	}
	r.result.events += len(window)
	r.done.Add(int64(len(window)))
	if r.options.dryRun {
		r.result.copies += len(window) * r.options.times
		return nil
	}
	if err := r.record(ctx, window); err != nil {
		return err
	}
	for range r.options.times {
		published, failures, err := PublishCopies(ctx, r.env, window)
		r.result.copies += published
		r.result.failed += len(failures)
		r.failures = append(r.failures, failures[:min(len(failures), shownFailures-len(r.failures))]...)
		if err != nil {
			return err
		}
		if published == 0 && errors.Is(failures[0], outbox.ErrUnavailable) {
			return errAway
		}
	}
	return nil
}

// record adds a window to the audit table before any of it is published: what was
// replayed is there, and what was to be when the broker did not take it.
func (r *replaying) record(ctx context.Context, window []outbox.Message) (err error) {
	if r.recorded == nil {
		by := r.outbox.Operator(r.env.Actor(), r.options.reason)
		r.recorded, err = by.Record(ctx, outbox.ActionReplay, map[string]string{"times": strconv.Itoa(r.options.times)})
	}
	ids := make([]string, len(window))
	for i, m := range window {
		ids[i] = m.ID.String()
	}
	if err == nil {
		err = r.recorded.Add(ctx, ids...)
	}
	return fail.Wrap("cannot record the replay in the audit table, and so does not replay", err)
}

// errAway ends a replay when the broker is down: the next window would also
// wait in vain.
var errAway = errors.New("the broker is down")

// conclude renders the result. If nothing was replayed that is an error, if
// some were it is a partial success.
func (r *replaying) conclude() error {
	troubles := append(r.refused[:len(r.refused):len(r.refused)], r.failures...)
	if r.result.copies == 0 && len(troubles) > 0 {
		if len(r.options.ids) == 1 {
			return troubles[0]
		}
		first := fail.From(troubles[0])
		return &fail.Error{Kind: first.Kind, Hint: first.Hint, Cause: first, Message: "nothing was replayed: " + r.left()}
	}
	if err := console.RenderOne(r.env.IO, replayedColumns, r.result); err != nil {
		return err
	}
	if len(r.options.ids) == 0 && !r.env.IO.ErrStructured() {
		r.env.IO.Notef("no ids: nothing to do")
	}
	if len(troubles) == 0 {
		return nil
	}
	if !r.env.IO.ErrStructured() && len(troubles) > 1 {
		for _, err := range troubles[:min(len(troubles), shownFailures)] {
			r.env.IO.Notef("%v", err)
		}
		if more := r.result.refused + r.result.failed - shownFailures; more > 0 {
			r.env.IO.Notef("and %s more", reconcile.Thousands(more))
		}
	}
	return &fail.Error{Kind: fail.Partial, Message: r.left(), Cause: troubles[0]}
}

// left describes what was not replayed.
func (r *replaying) left() string {
	var parts []string
	if n := r.result.refused; n > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s events were refused", reconcile.Thousands(n), reconcile.Thousands(len(r.options.ids))))
	}
	if n := r.result.failed; n > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s copies were not published", reconcile.Thousands(n), reconcile.Thousands(n+r.result.copies)))
	}
	return strings.Join(parts, ", ")
}

// PublishCopies publishes msgs window by window and returns how many were
// published and why the others were not.
func PublishCopies(ctx context.Context, e *env.Env, msgs []outbox.Message) (published int, failures []error, err error) {
	publisher, err := e.Publisher()
	if err != nil {
		return 0, nil, err
	}
	for window := range slices.Chunk(msgs, replayWindow) {
		for i, err := range publishAll(ctx, publisher, window) {
			if err == nil {
				published++
				continue
			}
			failures = append(failures, fmt.Errorf("%s: %w", window[i].ID, err))
		}
		if ctx.Err() != nil {
			return published, failures, ctx.Err()
		}
	}
	return published, failures, nil
}

// replayable refuses messages whose replay would do harm: those that the relay
// is still to publish, and events so old that an inbox may have forgotten them.
func replayable(e *env.Env, rec outbox.Record, o replayOptions) error {
	switch {
	case rec.Status == outbox.Pending:
		return fail.Usagef("the relay publishes it: pulsectl outbox show "+rec.ID.String(), "%s is still pending", rec.ID)
	case rec.Status == outbox.Dead, rec.Status == outbox.Discarded:
		return fail.Usagef("to publish it: pulsectl outbox retry "+rec.ID.String(), "%s is %s and was never published", rec.ID, rec.Status)
	case !o.force && e.IO.Now().Sub(rec.PublishedAt) > o.horizon:
		return fail.Usagef("add --force if every consumer still remembers it, or should apply it again",
			"%s was published %s ago, beyond the replay horizon of %s", rec.ID, e.IO.Now().Sub(rec.PublishedAt).Round(time.Minute), o.horizon)
	}
	return nil
}

func publishAll(ctx context.Context, p outbox.Publisher, msgs []outbox.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	return p.Publish(ctx, msgs)
}
