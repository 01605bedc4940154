package messages

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// retries is how often a consumer tries a message, by default.
const retries = 10

type purged struct {
	events int64
	more   bool // there are more than were counted
	before time.Time
	dryRun bool
}

var purgedColumns = []console.Column[purged]{
	{Key: "purged", Value: func(p purged) any { return p.events }},
	{Key: "before", Value: func(p purged) any { return p.before }},
	{Key: "more", Value: func(p purged) any { return p.more }},
	{Key: "dryRun", Value: func(p purged) any { return p.dryRun }},
}

type forgetOptions struct {
	olderThan, outboxRetention time.Duration
	reason                     string
	ask, dryRun                bool
}

func inboxPurgeCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "purge", Usage: "forget what the consumer applied long ago; a running consumer does that by itself",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "older-than", Usage: "forget what was applied more than `DURATION` ago; not less than the outbox's retention and the longest retry together: copies that come later are applied again"},
			&cli.DurationFlag{Name: "outbox-retention", Value: outbox.DefaultRetention, Usage: "the outbox keeps published messages, which can be replayed, for `DURATION`"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table, if the outbox is given"},
			env.YesFlag(), env.DryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			o := forgetOptions{olderThan: ctx.Duration("older-than"), outboxRetention: ctx.Duration("outbox-retention"),
				reason: ctx.String("reason"), ask: !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run")}
			switch {
			case !ctx.IsSet("older-than"):
				return fail.Usagef("for example: --older-than 720h", "--older-than is missing")
			case o.outboxRetention < 0:
				return fail.Usagef("", "--outbox-retention: %s is negative", o.outboxRetention)
			}
			return o.run(ctx.Context, e)
		},
	}
}

func (o forgetOptions) run(ctx context.Context, e *env.Env) error {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	ob, err := outboxIfGiven(ctx, e)
	if err != nil {
		return err
	}
	if err := o.check(ctx, e, in, ob); err != nil {
		return err
	}
	p := purged{before: e.IO.Now().Add(-o.olderThan), dryRun: o.dryRun}
	n, more, err := in.Count(ctx, inbox.ListQuery{Until: p.before}, overview.CountBound)
	if err != nil {
		return fail.Wrap("cannot count the inbox", err)
	}
	p.events, p.more = int64(n), more
	if o.dryRun || n == 0 {
		return console.RenderOne(e.IO, purgedColumns, p)
	}
	if o.ask {
		question := fmt.Sprintf("%s events of consumer %s will be forgotten, and applied again if a copy comes: continue?", overview.Bounded(p.events, !more), in.Consumer())
		if err := e.Confirm(question); err != nil {
			return err
		}
	}
	if ob != nil {
		filter := map[string]string{"consumer": in.Consumer(), "olderThan": o.olderThan.String(), "events": overview.Bounded(p.events, !more)}
		if _, err := ob.Operator(e.Actor(), o.reason).Record(ctx, "inbox-purge", filter); err != nil {
			return fail.Wrap("cannot record it in the audit table", err)
		}
	}
	what := func() string { return "the purge of " + overview.Bounded(int64(n), !more) + " events" }
	err = e.IO.Wait(ctx, what, func(io.Writer) error {
		p.events, err = in.Purge(ctx, o.olderThan)
		return err
	})
	p.more = false
	if ctx.Err() != nil {
		return fail.New(fail.Interrupted, "run it again for the rest", "interrupted; %s events were forgotten", overview.Bounded(p.events, true))
	}
	if err != nil {
		return fail.Wrap("cannot purge the inbox", err)
	}
	return console.RenderOne(e.IO, purgedColumns, p)
}

// outboxIfGiven returns nil if no outbox is given.
func outboxIfGiven(ctx context.Context, e *env.Env) (*outbox.Outbox, error) {
	given, err := e.Given()
	if err != nil || !given.Outbox {
		return nil, err
	}
	ob, _, err := e.Outbox(ctx)
	return ob, err
}

// check refuses a window in which copies may still come: those that wait for a
// retry, and those that are replayed from the outbox.
func (o forgetOptions) check(ctx context.Context, e *env.Env, in *inbox.Inbox, ob *outbox.Outbox) error {
	instances, err := in.Instances(ctx)
	if err != nil {
		return fail.Wrap("cannot list the instances", err)
	}
	delays := inboxrabbit.DefaultRetryDelays()
	for _, i := range instances {
		delays = append(delays, i.RetryDelays...)
	}
	var longest time.Duration
	for _, d := range delays {
		longest = max(longest, d)
	}
	retention, source := o.outboxRetention, "the outbox's retention"
	if ob != nil {
		page, err := ob.List(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Published}, OldestFirst: true, Limit: 1, WithoutPayload: true})
		if err != nil {
			return fail.Wrap("cannot read the outbox", err)
		}
		for _, r := range page.Records {
			if age := e.IO.Now().Sub(r.PublishedAt); age > retention {
				retention, source = age.Round(time.Second), "the age of the oldest message in the outbox"
			}
		}
	}
	least := retention + retries*longest
	if o.olderThan >= least {
		return nil
	}
	return fail.Usagef("add: --older-than "+least.String()+"; if the outbox keeps its messages for a shorter time: --outbox-retention",
		"--older-than: %s is less than %s, %s (%s) and the longest time in retry queues (%s) together: a copy that comes later would be applied again",
		o.olderThan, least, source, retention, retries*longest)
}
