package command

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

var reportColumns = []console.Column[reconcile.Report]{
	{Key: "orders", Value: func(r reconcile.Report) any { return r.Orders }},
	{Key: "outbox", Value: func(r reconcile.Report) any { return r.Outbox }},
	{Key: "published", Value: func(r reconcile.Report) any { return r.Published }},
	{Key: "pending", Value: func(r reconcile.Report) any { return r.Pending }, Tone: badIf(func(r reconcile.Report) int { return r.Pending }, console.Warn)},
	{Key: "dead", Value: func(r reconcile.Report) any { return r.Dead }, Tone: badIf(func(r reconcile.Report) int { return r.Dead }, console.Warn)},
	{Key: "inFlight", Value: func(r reconcile.Report) any { return r.InFlight }},
	{Key: "applied", Value: func(r reconcile.Report) any { return r.Applied }},
	{Key: "deadLettered", Value: func(r reconcile.Report) any { return r.DeadLettered }, Tone: badIf(func(r reconcile.Report) int { return r.DeadLettered }, console.Warn)},
	{Key: "lost", Value: func(r reconcile.Report) any { return r.Lost }, Tone: badIf(func(r reconcile.Report) int { return r.Lost }, console.Bad)},
	{Key: "duplicated", Value: func(r reconcile.Report) any { return r.Duplicated }, Tone: badIf(func(r reconcile.Report) int { return r.Duplicated }, console.Bad)},
	{Key: "verdict", Value: func(r reconcile.Report) any { return r.Verdict() }, ID: true, Tone: func(r reconcile.Report) console.Tone {
		if r.OK() {
			return console.Good
		}
		return console.Bad
	}},
}

func badIf(count func(reconcile.Report) int, tone console.Tone) func(reconcile.Report) console.Tone {
	return func(r reconcile.Report) console.Tone {
		if count(r) > 0 {
			return tone
		}
		return console.Plain
	}
}

// inboxMemory is how long an inbox remembers unless told otherwise.
const inboxMemory = 30 * 24 * time.Hour

func verifyCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "prove that nothing was lost or doubled: reconcile orders, outbox, broker, inbox; exit 1 otherwise",
		Flags: []cli.Flag{
			timeoutFlag(time.Minute),
			&cli.StringFlag{Name: "topic", Value: "order.created", Usage: "compare the messages of this `TOPIC`"},
			&cli.DurationFlag{Name: "inbox-retention", Value: inboxMemory, Usage: "what was published more than `DURATION` ago is not judged: the inbox has forgotten it"},
		},
		Action: func(ctx *cli.Context) error {
			if d := ctx.Duration("inbox-retention"); d <= 0 {
				return fail.Usagef("", "--inbox-retention: %s is not positive", d)
			}
			return env.verify(ctx.Context, ctx.String("topic"), ctx.Duration("inbox-retention"), ctx.Duration("timeout"))
		},
	}
}

func (e *Env) verify(ctx context.Context, topic string, memory, timeout time.Duration) error {
	l, err := e.ledger(ctx, topic)
	if err != nil {
		return err
	}
	l.Since = e.IO.Now().Add(-memory)
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	report, err := l.Settle(waiting, e.showProgress)
	unsettled := errors.Is(err, reconcile.ErrUnsettled)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !unsettled:
		return fail.Wrap("cannot verify", err)
	}
	if err := console.RenderOne(e.IO, reportColumns, report); err != nil {
		return err
	}
	switch {
	case unsettled:
		return fail.New(fail.Timeout, "look at: pulsectl status, pulsectl outbox ls --status pending",
			"not settled after %s: %d pending, %d in flight", timeout, report.Pending, report.InFlight)
	case !report.OK():
		return fail.New(fail.General, "compare: pulsectl outbox ls, pulsectl inbox ls",
			"%d lost, %d duplicated", report.Lost, report.Duplicated)
	}
	return nil
}

// showProgress says on a terminal what verify is waiting for.
func (e *Env) showProgress(r reconcile.Report) {
	if e.IO.ErrTTY && !r.Settled() {
		e.IO.Notef("waiting: %d pending, %d in flight", r.Pending, r.InFlight)
	}
}

func (e *Env) ledger(ctx context.Context, topic string) (reconcile.Ledger, error) {
	_, outDB, err := e.Outbox(ctx)
	if err != nil {
		return reconcile.Ledger{}, err
	}
	_, inDB, err := e.Inbox(ctx)
	if err != nil {
		return reconcile.Ledger{}, err
	}
	broker, err := e.queues()
	if err != nil {
		return reconcile.Ledger{}, err
	}
	return reconcile.Ledger{OutboxDB: outDB, InboxDB: inDB, Broker: broker, Consumer: e.flags.consumer, Topic: topic}, nil
}
