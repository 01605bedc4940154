package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const (
	maxTimes      = 1000
	replayWindow  = 500 // copies handed to the publisher at once
	replayHorizon = 7 * 24 * time.Hour
	publishLimit  = 30 * time.Second
)

// replayed reports what replay did.
type replayed struct {
	events, copies, failed int
	dryRun                 bool
}

var replayedColumns = []console.Column[replayed]{
	{Key: "replayed", Value: func(r replayed) any { return r.copies }},
	{Key: "events", Value: func(r replayed) any { return r.events }},
	{Key: "failed", Value: func(r replayed) any { return r.failed }},
	{Key: "dryRun", Value: func(r replayed) any { return r.dryRun }},
}

type replayOptions struct {
	ids     []uuid.UUID
	times   int
	horizon time.Duration
	force   bool
	dryRun  bool
}

func replayCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "publish further copies of messages, with the same event ids: consumers with an inbox skip them",
		ArgsUsage: "ID... | -",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "times", Value: 1, Usage: "`N` copies of each"},
			&cli.DurationFlag{Name: "replay-horizon", Value: replayHorizon, Usage: "refuse events older than `DURATION`: inboxes may have forgotten them"},
			&cli.BoolFlag{Name: "force", Usage: "replay beyond the horizon all the same"},
			dryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			ids, err := env.chooseIDs(ctx, "")
			if err != nil {
				return err
			}
			o := replayOptions{ids: ids, times: ctx.Int("times"), horizon: ctx.Duration("replay-horizon"), force: ctx.Bool("force"), dryRun: ctx.Bool("dry-run")}
			if o.times < 1 || o.times > maxTimes {
				return fail.Usagef("", "--times: %d is not between 1 and %d", o.times, maxTimes)
			}
			if o.horizon <= 0 {
				return fail.Usagef("", "--replay-horizon: %s is not positive", o.horizon)
			}
			return env.replay(ctx.Context, o)
		},
	}
}

func (e *Env) replay(ctx context.Context, o replayOptions) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	// All are checked before the first copy goes out.
	var copies []outbox.Message
	for _, id := range o.ids {
		rec, err := ob.Get(ctx, id)
		if err != nil {
			return fail.Wrap("cannot replay "+id.String(), err)
		}
		if err := e.replayable(rec, o); err != nil {
			return err
		}
		for range o.times {
			copies = append(copies, rec.Message)
		}
	}
	r := replayed{events: len(o.ids), copies: len(copies), dryRun: o.dryRun}
	if o.dryRun || len(copies) == 0 {
		return console.RenderOne(e.IO, replayedColumns, r)
	}
	var failures []error
	if r.copies, failures, err = e.publishCopies(ctx, copies); err != nil {
		return err
	}
	r.failed = len(copies) - r.copies
	if r.copies == 0 {
		return fail.Wrap("nothing was replayed", failures[0])
	}
	if err := console.RenderOne(e.IO, replayedColumns, r); err != nil {
		return err
	}
	if r.failed > 0 {
		return &fail.Error{Kind: fail.Partial, Message: fmt.Sprintf("%d of %d copies were not published", r.failed, len(copies)), Cause: failures[0]}
	}
	return nil
}

// publishCopies publishes msgs window by window and returns how many arrived
// and why the others did not.
func (e *Env) publishCopies(ctx context.Context, msgs []outbox.Message) (published int, failures []error, err error) {
	publisher, err := e.Publisher(ctx)
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

// replayable refuses what would do harm: rows the relay is still to publish,
// and events so old that an inbox may have forgotten them.
func (e *Env) replayable(rec outbox.Record, o replayOptions) error {
	switch {
	case rec.Status == outbox.Pending:
		return fail.Usagef("the relay publishes it: pulsectl outbox show "+rec.ID.String(), "%s is still pending", rec.ID)
	case rec.Status == outbox.Dead, rec.Status == outbox.Discarded:
		return fail.Usagef("to publish it: pulsectl outbox retry "+rec.ID.String(), "%s is %s and was never published", rec.ID, rec.Status)
	case !o.force && e.IO.Now().Sub(rec.PublishedAt) > o.horizon:
		return fail.Usagef("add --force if every consumer still remembers it, or is to apply it again",
			"%s was published %s ago, beyond the replay horizon of %s", rec.ID, e.IO.Now().Sub(rec.PublishedAt).Round(time.Minute), o.horizon)
	}
	return nil
}

func publishAll(ctx context.Context, p outbox.Publisher, msgs []outbox.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	return p.Publish(ctx, msgs)
}
