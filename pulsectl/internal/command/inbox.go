package command

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func processedColumns(consumer string) []console.Column[inbox.Record] {
	return []console.Column[inbox.Record]{
		{Key: "eventId", Value: func(r inbox.Record) any { return r.EventID }, ID: true},
		{Key: "consumer", Value: func(inbox.Record) any { return consumer }, Min: 8},
		{Key: "topic", Value: func(r inbox.Record) any { return r.Topic }, Keep: 1, Min: 8},
		{Key: "correlationId", Value: func(r inbox.Record) any { return r.CorrelationID }, Wide: true},
		{Key: "occurredAt", Value: func(r inbox.Record) any { return r.OccurredAt }, Wide: true},
		{Key: "processedAt", Value: func(r inbox.Record) any { return r.ProcessedAt }, Head: "APPLIED", Keep: 2},
	}
}

func inboxCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "inbox", Usage: "see what has been applied",
		Subcommands: []*cli.Command{{
			Name: "ls", Aliases: []string{"list"}, Usage: "list applied events, the newest first",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "event", Usage: "only this event `ID`"},
				&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
				&cli.StringFlag{Name: "correlation-id", Usage: "only this correlation `ID`"},
				sinceFlag(), limitFlag(),
				&cli.StringFlag{Name: "cursor", Usage: "go on after the page that ended with `NEXT`"},
				&cli.StringFlag{Name: "columns", Usage: "show only these `KEYS`, with commas, in this order"},
			},
			Action: func(ctx *cli.Context) error {
				q := inbox.ListQuery{
					EventID: ctx.String("event"), Topic: ctx.String("topic"), CorrelationID: ctx.String("correlation-id"),
					After: ctx.String("cursor"), Limit: ctx.Int("limit"),
				}
				if err := checkLimit(q.Limit); err != nil {
					return err
				}
				var err error
				if q.Since, err = env.parseSince(ctx.String("since")); err != nil {
					return err
				}
				var show []string
				if s := ctx.String("columns"); s != "" {
					show = strings.Split(s, ",")
				}
				if err := console.CheckColumns(processedColumns(""), show); err != nil {
					return fail.Usagef("", "--columns: %v", err)
				}
				return env.listProcessed(ctx.Context, q, show)
			},
		}},
	}
}

func (e *Env) listProcessed(ctx context.Context, q inbox.ListQuery, show []string) error {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	page, err := in.List(ctx, q)
	if err != nil {
		return fail.Wrap("cannot list the inbox", err)
	}
	list := console.List[inbox.Record]{Columns: processedColumns(in.Consumer()), Items: page.Records, Next: page.Next, Show: show}
	if err := console.RenderList(e.IO, list); err != nil {
		return err
	}
	if page.Next != "" && !e.IO.Structured() {
		e.IO.Notef("showing %d; go on with --cursor %s", len(page.Records), page.Next)
	}
	return nil
}
