package messages

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// mended is the result of retry or discard.
type mended struct {
	done   int64
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

// choiceFlags choose messages by what they are instead of by id.
func choiceFlags(statuses string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "status", Usage: "`STATUS` of those to choose: " + statuses + " (default: dead)"},
		&cli.StringFlag{Name: "topic", Usage: "choose those of this `TOPIC`"},
		&cli.StringFlag{Name: "type", Usage: "choose those of this event `TYPE`"},
		&cli.StringFlag{Name: "key", Usage: "choose those of this ordering `KEY`"},
		&cli.StringFlag{Name: "correlation-id", Usage: "choose those of this correlation `ID`"},
		&cli.StringFlag{Name: "error", Usage: "choose those whose last error contains `TEXT`"},
		env.SinceFlag(),
		&cli.IntFlag{Name: "limit", Usage: "at most `N` of those that are chosen, the oldest first"},
	}
}

// choice reads choiceFlags; nil: none is set. allowed are the statuses that may be
// chosen, and whether dead ones are by default.
func choice(ctx *cli.Context, e *env.Env, allowed ...string) (*outbox.ListQuery, error) {
	chosen := false
	for _, name := range []string{"status", "topic", "type", "key", "correlation-id", "error", "since", "limit"} {
		chosen = chosen || ctx.IsSet(name)
	}
	if !chosen {
		return nil, nil
	}
	q := &outbox.ListQuery{
		Topic: ctx.String("topic"), Type: ctx.String("type"), Key: ctx.String("key"),
		CorrelationID: ctx.String("correlation-id"), ErrorContains: ctx.String("error"), Limit: ctx.Int("limit"),
	}
	if ctx.IsSet("limit") && q.Limit < 1 {
		return nil, fail.Usagef("", "--limit: %d is not positive", q.Limit)
	}
	// An empty value would choose more than was meant, as one from a variable that is not set.
	for _, name := range []string{"status", "topic", "type", "key", "correlation-id", "error", "since"} {
		if ctx.IsSet(name) && ctx.String(name) == "" {
			return nil, fail.Usagef("", "--%s: is empty", name)
		}
	}
	var err error
	if q.Since, err = e.ParseSince(ctx.String("since")); err != nil {
		return nil, err
	}
	status := ctx.String("status")
	if status == "" {
		status = string(outbox.Dead)
	}
	for word := range strings.SplitSeq(status, ",") {
		if !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+word+" ") {
			return nil, fail.Usagef("have: "+strings.Join(allowed, ", "), "--status: %q cannot be chosen", word)
		}
	}
	q.Statuses, q.Retrying, err = ParseStatuses(status)
	return q, err
}

// chooseMessages reads which messages a command is about: by ids, or by a choice.
func chooseMessages(ctx *cli.Context, e *env.Env, allFlag string, q *outbox.ListQuery) ([]uuid.UUID, error) {
	switch {
	case q == nil && (ctx.Args().Present() || allFlag != "" && ctx.Bool(allFlag)):
		return e.ChooseIDs(ctx, allFlag)
	case q == nil:
		return nil, fail.Usagef("give ids, or choose messages, as by --error TEXT", "no event id given, and no messages chosen")
	case ctx.Args().Present():
		return nil, fail.Usagef("", "give ids or choose messages, not both")
	case allFlag != "" && ctx.Bool(allFlag):
		return nil, fail.Usagef("", "choose messages or give --%s, not both", allFlag)
	}
	return nil, nil
}

func outboxRetryCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "retry", Usage: "publish dead messages, and publish retrying ones now", ArgsUsage: "ID... | - | --all | --error TEXT ...",
		Flags: append([]cli.Flag{&cli.BoolFlag{Name: "all", Usage: "every dead message"}}, append(choiceFlags("dead or retrying"),
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table"}, env.YesFlag(), env.DryRunFlag())...),
		Action: func(ctx *cli.Context) error {
			q, err := choice(ctx, e, "dead", "retrying")
			if err != nil {
				return err
			}
			ids, err := chooseMessages(ctx, e, "all", q)
			if err != nil {
				return err
			}
			if ctx.Bool("all") {
				q = &outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}}
			}
			return mendOptions{
				ids: ids, query: q, ask: q != nil && !ctx.Bool("all") && !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run"),
				verb: "retried", reason: ctx.String("reason"),
				do: outbox.Operator.Retry, doMatching: outbox.Operator.RetryMatching,
			}.run(ctx.Context, e)
		},
	}
}

func outboxDiscardCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "discard", Usage: "never publish these pending or dead messages; needs a reason", ArgsUsage: "ID... | - | --error TEXT ...",
		Flags: append(choiceFlags("dead, retrying, or pending (including retrying)"),
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; stored with the message and in the audit table"}, env.YesFlag(), env.DryRunFlag()),
		Action: func(ctx *cli.Context) error {
			reason := strings.TrimSpace(ctx.String("reason"))
			if reason == "" {
				return fail.Usagef("run: pulsectl outbox discard ID --reason \"customer was deleted\"", "--reason is missing")
			}
			q, err := choice(ctx, e, "dead", "retrying", "pending")
			if err != nil {
				return err
			}
			ids, err := chooseMessages(ctx, e, "", q)
			if err != nil {
				return err
			}
			return mendOptions{
				// A single id is a deliberate choice; a list may contain others.
				ids: ids, query: q, ask: (q != nil || len(ids) > 1) && !ctx.Bool("yes"), dryRun: ctx.Bool("dry-run"),
				verb: "discarded", reason: reason,
				do: outbox.Operator.Discard, doMatching: outbox.Operator.DiscardMatching,
			}.run(ctx.Context, e)
		},
	}
}

type mendOptions struct {
	ids          []uuid.UUID
	query        *outbox.ListQuery // instead of ids
	ask, dryRun  bool
	verb, reason string
	do           func(outbox.Operator, context.Context, ...uuid.UUID) (int, error)
	doMatching   func(outbox.Operator, context.Context, outbox.ListQuery, func(int64)) (int64, error)
}

// run applies one change to some messages.
func (o mendOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	if o.query != nil {
		return o.runMatching(ctx, e, ob)
	}
	if o.dryRun || len(o.ids) == 0 {
		return renderMended(e, mended{done: int64(len(o.ids)), verb: o.verb, dryRun: o.dryRun})
	}
	if o.ask {
		if err := e.Confirm(fmt.Sprintf("%d messages will be %s permanently: continue?", len(o.ids), o.verb)); err != nil {
			return err
		}
	}
	n, err := o.do(ob.Operator(e.Actor(), o.reason), ctx, o.ids...)
	m := mended{done: int64(n), failed: len(o.ids) - n, verb: o.verb}
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

// mostCounted bounds how far messages are counted before a question.
const mostCounted = 1_000_000

// runMatching changes the messages that a query chooses, however many they are.
func (o mendOptions) runMatching(ctx context.Context, e *env.Env, ob *outbox.Outbox) error {
	n, more, err := ob.Count(ctx, *o.query, mostCounted)
	if err != nil {
		return fail.Wrap("cannot count the messages", err)
	}
	if o.query.Limit > 0 {
		n, more = min(n, o.query.Limit), more && n < o.query.Limit
	}
	if o.dryRun || n == 0 {
		return renderMended(e, mended{done: int64(n), verb: o.verb, dryRun: o.dryRun})
	}
	if o.ask {
		count := reconcile.Thousands(n)
		if more {
			count = "more than " + count
		}
		question := fmt.Sprintf("%s messages will be %s: continue?", count, o.verb)
		if o.verb == "discarded" {
			question = fmt.Sprintf("%s messages will be discarded permanently: continue?", count)
		}
		if err := e.Confirm(question); err != nil {
			return err
		}
	}
	var done atomic.Int64
	line := func() string {
		return fmt.Sprintf("messages to be %s: %s of %s so far", o.verb, reconcile.Thousands(int(done.Load())), reconcile.Thousands(n))
	}
	var changed int64
	err = e.IO.Wait(ctx, line, func(io.Writer) error {
		var err error
		changed, err = o.doMatching(ob.Operator(e.Actor(), o.reason), ctx, *o.query, done.Store)
		return err
	})
	if err != nil && changed == 0 {
		return fail.Wrap("nothing was "+o.verb, err)
	}
	if renderErr := renderMended(e, mended{done: changed, verb: o.verb}); renderErr != nil {
		return renderErr
	}
	if err != nil {
		f := *fail.From(fail.Wrap("not all were "+o.verb, err))
		if f.Kind != fail.Interrupted {
			f.Kind = fail.Partial
		}
		return &f
	}
	return nil
}
