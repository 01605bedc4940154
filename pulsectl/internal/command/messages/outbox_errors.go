package messages

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/failures"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

var errorColumns = []console.Column[failures.Group]{
	{Key: "count", Value: func(g failures.Group) any { return g.Count }, Keep: 6},
	{Key: "dead", Value: func(g failures.Group) any { return g.Dead }, Tone: deadTone, Keep: 3},
	{Key: "retrying", Value: func(g failures.Group) any { return g.Retrying }, Keep: 3},
	{Key: "error", Value: func(g failures.Group) any { return g.Error }, Keep: 5, Min: 24},
	{Key: "blockedKeys", Value: func(g failures.Group) any { return g.BlockedKeys }, Head: "KEYS", Keep: 4},
	{Key: "first", Value: func(g failures.Group) any { return g.First }, Keep: 1},
	{Key: "last", Value: func(g failures.Group) any { return g.Last }, Keep: 2},
	{Key: "topics", Value: func(g failures.Group) any { return listOf(g.Topics) }, Wide: true},
	{Key: "keys", Value: func(g failures.Group) any { return listOf(g.Keys) }, Wide: true},
	{Key: "exampleId", Value: func(g failures.Group) any { return g.Example.ID.String() }, ID: true, Head: "EXAMPLE"},
	{Key: "example", Value: func(g failures.Group) any { return g.Example.LastError }, Wide: true},
}

func deadTone(g failures.Group) console.Tone {
	if g.Dead > 0 {
		return console.Bad
	}
	return console.Plain
}

// listOf returns a list that JSON shows as one, also if it is empty.
func listOf(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

func outboxErrorsCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "errors", Usage: "group dead and retrying messages by error, with the keys that they block",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "status", Usage: "only `STATUS`: dead or retrying"},
			&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
			&cli.StringFlag{Name: "key", Usage: "only this ordering `KEY`"},
			&cli.StringFlag{Name: "error", Usage: "only those whose last error contains `TEXT`"},
			env.SinceFlag(),
		},
		Action: func(ctx *cli.Context) error {
			q := outbox.ListQuery{Topic: ctx.String("topic"), Key: ctx.String("key"), ErrorContains: ctx.String("error")}
			var err error
			if q.Since, err = e.ParseSince(ctx.String("since")); err != nil {
				return err
			}
			switch status := ctx.String("status"); status {
			case "":
			case "dead":
				q.Statuses = []outbox.Status{outbox.Dead}
			case "retrying":
				q.Retrying = true
			default:
				return fail.Usagef("have: dead, retrying", "--status: %q has no errors", status)
			}
			return outboxErrors(ctx.Context, e, q)
		},
	}
}

func outboxErrors(ctx context.Context, e *env.Env, q outbox.ListQuery) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	report, err := failures.Read(ctx, ob, q)
	if err != nil {
		return fail.Wrap("cannot group the errors of the outbox", err)
	}
	if err := console.RenderList(e.IO, console.List[failures.Group]{Columns: errorColumns, Items: report.Groups}); err != nil {
		return err
	}
	if report.More {
		e.IO.Notef("there are more: these are of the first %s messages that failed", reconcile.Thousands(report.Failed))
	}
	if len(report.Groups) > 0 && !e.IO.Structured() {
		e.IO.Notef("list those of a group: pulsectl outbox ls --error TEXT")
	}
	return nil
}
