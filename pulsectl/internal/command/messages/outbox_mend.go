package messages

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// mended is the result of retry or discard.
type mended struct {
	done   int
	failed int
	verb   string // JSON key: retried, discarded
	dryRun bool
}

func renderMended(e *env.Env, m mended) error {
	return console.RenderOne(e.IO, []console.Column[mended]{
		{Key: m.verb, Value: func(m mended) any { return m.done }},
		{Key: "refused", Value: func(m mended) any { return m.failed }},
		{Key: "dryRun", Value: func(m mended) any { return m.dryRun }},
	}, m)
}

func outboxRetryCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "retry", Usage: "publish dead messages, and publish retrying ones now", ArgsUsage: "ID... | - | --all",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every dead message"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table"},
			env.DryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			ids, err := e.ChooseIDs(ctx, "all")
			if err != nil {
				return err
			}
			return mendOptions{
				ids: ids, all: ctx.Bool("all"), dryRun: ctx.Bool("dry-run"), verb: "retried",
				reason: ctx.String("reason"), do: outbox.Operator.Retry,
			}.run(ctx.Context, e)
		},
	}
}

func outboxDiscardCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "discard", Usage: "never publish these pending or dead messages; needs a reason", ArgsUsage: "ID... | -",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; stored with the message and in the audit table"},
			env.YesFlag(), env.DryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			reason := strings.TrimSpace(ctx.String("reason"))
			if reason == "" {
				return fail.Usagef("run: pulsectl outbox discard ID --reason \"customer was deleted\"", "--reason is missing")
			}
			ids, err := e.ChooseIDs(ctx, "")
			if err != nil {
				return err
			}
			return mendOptions{
				ids: ids, ask: !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run"), verb: "discarded",
				reason: reason, do: outbox.Operator.Discard,
			}.run(ctx.Context, e)
		},
	}
}

type mendOptions struct {
	ids              []uuid.UUID
	all, ask, dryRun bool
	verb, reason     string
	do               func(outbox.Operator, context.Context, ...uuid.UUID) (int, error)
}

// run applies one change to some messages, page by page if it applies to all.
func (o mendOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	if o.all {
		if o.ids, err = allDead(ctx, ob); err != nil {
			return fail.Wrap("cannot list the dead messages", err)
		}
	}
	if o.dryRun || len(o.ids) == 0 {
		return renderMended(e, mended{done: len(o.ids), verb: o.verb, dryRun: o.dryRun})
	}
	// A single id is a deliberate choice; a list may contain others.
	if len(o.ids) > 1 && o.ask {
		if err := e.Confirm(fmt.Sprintf("%d messages will be %s permanently: continue?", len(o.ids), o.verb)); err != nil {
			return err
		}
	}
	n, err := o.do(ob.Operator(e.Actor(), o.reason), ctx, o.ids...)
	m := mended{done: n, failed: len(o.ids) - n, verb: o.verb}
	if n == 0 && err != nil {
		return fail.Wrap("nothing was "+o.verb, err)
	}
	if renderErr := renderMended(e, m); renderErr != nil {
		return renderErr
	}
	if err != nil {
		return &fail.Error{Kind: fail.Partial, Message: fmt.Sprintf("%d of %d were not %s", m.failed, len(o.ids), o.verb), Cause: err}
	}
	return nil
}

func allDead(ctx context.Context, ob *outbox.Outbox) (ids []uuid.UUID, err error) {
	q := outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}, Limit: outbox.MaxLimit, OldestFirst: true, WithoutPayload: true}
	for {
		page, err := ob.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			ids = append(ids, r.ID)
		}
		if page.Next == 0 {
			return ids, nil
		}
		q.After = page.Next
	}
}
