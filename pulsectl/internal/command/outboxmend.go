package command

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// mended reports a change of several rows.
type mended struct {
	done   int
	failed int
	verb   string // JSON key: retried, discarded
	dryRun bool
}

func (e *Env) renderMended(m mended) error {
	return console.RenderOne(e.IO, []console.Column[mended]{
		{Key: m.verb, Value: func(m mended) any { return m.done }},
		{Key: "refused", Value: func(m mended) any { return m.failed }},
		{Key: "dryRun", Value: func(m mended) any { return m.dryRun }},
	}, m)
}

func outboxRetryCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "retry", Usage: "publish dead messages after all, and retrying ones now", ArgsUsage: "ID... | - | --all",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every dead message"},
			dryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			ids, err := env.chooseIDs(ctx, "all")
			if err != nil {
				return err
			}
			return env.mend(ctx.Context, mendOptions{
				ids: ids, all: ctx.Bool("all"), dryRun: ctx.Bool("dry-run"), verb: "retried",
				do: func(ctx context.Context, ob *outbox.Outbox, ids []uuid.UUID) (int, error) {
					return ob.Retry(ctx, ids...)
				},
			})
		},
	}
}

func outboxDiscardCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "discard", Usage: "set pending or dead messages aside for good, with a reason", ArgsUsage: "ID... | -",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`WHY`; kept with the message"},
			yesFlag(), dryRunFlag(),
		},
		Action: func(ctx *cli.Context) error {
			reason := strings.TrimSpace(ctx.String("reason"))
			if reason == "" {
				return fail.Usagef("run: pulsectl outbox discard ID --reason \"customer was deleted\"", "--reason is missing")
			}
			ids, err := env.chooseIDs(ctx, "")
			if err != nil {
				return err
			}
			return env.mend(ctx.Context, mendOptions{
				ids: ids, ask: !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run"), verb: "discarded",
				do: func(ctx context.Context, ob *outbox.Outbox, ids []uuid.UUID) (int, error) {
					return ob.Discard(ctx, reason, ids...)
				},
			})
		},
	}
}

func yesFlag() cli.Flag { return &cli.BoolFlag{Name: "yes", Usage: "do not ask"} }
func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "say what would be done and do nothing"}
}

// chooseIDs reads the ids of a command that also takes a flag for all.
func (e *Env) chooseIDs(ctx *cli.Context, allFlag string) ([]uuid.UUID, error) {
	all := allFlag != "" && ctx.Bool(allFlag)
	switch {
	case all && ctx.Args().Present():
		return nil, fail.Usagef("", "give ids or --%s, not both", allFlag)
	case !all && !ctx.Args().Present():
		return nil, fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "no event id given")
	}
	return e.readIDs(ctx.Args().Slice())
}

type mendOptions struct {
	ids              []uuid.UUID
	all, ask, dryRun bool
	verb             string
	do               func(context.Context, *outbox.Outbox, []uuid.UUID) (int, error)
}

// mend applies one change to some rows, in pages when all are meant.
func (e *Env) mend(ctx context.Context, o mendOptions) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	if o.all {
		if o.ids, err = allDead(ctx, ob); err != nil {
			return fail.Wrap("cannot list the dead", err)
		}
	}
	if o.dryRun || len(o.ids) == 0 {
		return e.renderMended(mended{done: len(o.ids), verb: o.verb, dryRun: o.dryRun})
	}
	// Naming one message is a decision; a list may hold surprises.
	if len(o.ids) > 1 && o.ask {
		if err := e.confirm(fmt.Sprintf("%d messages would be %s for good: go on?", len(o.ids), o.verb)); err != nil {
			return err
		}
	}
	n, err := o.do(ctx, ob, o.ids)
	m := mended{done: n, failed: len(o.ids) - n, verb: o.verb}
	if n == 0 && err != nil {
		return fail.Wrap("nothing was "+o.verb, err)
	}
	if renderErr := e.renderMended(m); renderErr != nil {
		return renderErr
	}
	if err != nil {
		return &fail.Error{Kind: fail.Partial, Message: fmt.Sprintf("%d of %d were not %s", m.failed, len(o.ids), o.verb), Cause: err}
	}
	return nil
}

func allDead(ctx context.Context, ob *outbox.Outbox) (ids []uuid.UUID, err error) {
	q := outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}, Limit: maxLimit, OldestFirst: true, WithoutPayload: true}
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

// confirm asks on a terminal; elsewhere it says which flag to give.
func (e *Env) confirm(question string) error {
	if !e.IO.InTTY || !e.IO.ErrTTY {
		return fail.Usagef("add --yes", "%s There is no terminal to ask on", question)
	}
	fmt.Fprintf(e.IO.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(e.IO.In).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err != nil || (a != "y" && a != "yes") {
		return fail.New(fail.General, "", "not confirmed; nothing was changed")
	}
	return nil
}
