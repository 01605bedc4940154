package messages

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

func outboxPurgeCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "purge", Usage: "delete messages that were published or discarded long ago, before a relay does; they cannot be replayed any more",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "older-than", Usage: "published or discarded longer than `DURATION` ago"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table"},
			env.YesFlag(), env.DryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			o := purgeOptions{olderThan: ctx.Duration("older-than"), reason: ctx.String("reason"), ask: !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run")}
			switch {
			case !ctx.IsSet("older-than"):
				return fail.Usagef(fmt.Sprintf("for example: --older-than %s", clip.Duration(outbox.DefaultRetention)), "--older-than is missing")
			case o.olderThan < 0:
				return fail.Usagef("", "--older-than: %s is negative", o.olderThan)
			}
			return o.run(ctx.Context, e)
		},
	}
}

type purgeOptions struct {
	olderThan   time.Duration
	reason      string
	ask, dryRun bool
}

func (o purgeOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	type purged struct {
		n      int64
		dryRun bool
	}
	render := func(p purged) error {
		return console.RenderOne(e.IO, []console.Column[purged]{
			{Key: "purged", Value: func(p purged) any { return p.n }}, {Key: "dryRun", Value: func(p purged) any { return p.dryRun }},
		}, p)
	}
	var n int64
	counting := func() string { return "the messages to be counted" }
	err = e.IO.Wait(ctx, counting, func(io.Writer) (err error) {
		n, err = ob.Purgeable(ctx, o.olderThan)
		return err
	})
	if err != nil {
		return fail.Wrap("cannot count the messages", err)
	}
	if o.dryRun || n == 0 {
		return render(purged{n, o.dryRun})
	}
	if o.ask {
		if err := e.Confirm(fmt.Sprintf("%s messages will be deleted, and cannot be replayed any more: continue?", reconcile.Thousands(int(n)))); err != nil {
			return err
		}
	}
	var done atomic.Int64
	line := func() string {
		return fmt.Sprintf("messages to be deleted: %s of %s so far", reconcile.Thousands(int(done.Load())), reconcile.Thousands(int(n)))
	}
	var deleted int64
	err = e.IO.Wait(ctx, line, func(io.Writer) (err error) {
		deleted, err = ob.Operator(e.Actor(), o.reason).Purge(ctx, o.olderThan, done.Store)
		return err
	})
	if err != nil {
		return fail.Wrap(fmt.Sprintf("deleted %s of %s messages", reconcile.Thousands(int(deleted)), reconcile.Thousands(int(n))), err)
	}
	return render(purged{deleted, false})
}
