package messages

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// ProcessedColumns returns the columns of inbox ls.
func ProcessedColumns(consumer string) []console.Column[inbox.Record] {
	return []console.Column[inbox.Record]{
		{Key: "eventId", Value: func(r inbox.Record) any { return r.EventID }, ID: true},
		{Key: "consumer", Value: func(inbox.Record) any { return consumer }, Min: 8},
		{Key: "topic", Value: func(r inbox.Record) any { return r.Topic }, Keep: 1, Min: 8},
		{Key: "correlationId", Value: func(r inbox.Record) any { return r.CorrelationID }, Wide: true},
		{Key: "occurredAt", Value: func(r inbox.Record) any { return r.OccurredAt }, Wide: true},
		{Key: "processedAt", Value: func(r inbox.Record) any { return r.ProcessedAt }, Head: "APPLIED", Keep: 2},
	}
}

func inboxCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "inbox", Usage: "show which events have been applied, and forget old ones",
		Subcommands: []*cli.Command{inboxListCommand(e), inboxShowCommand(e), inboxStatsCommand(e), inboxPurgeCommand(e)},
	}
}

func inboxListCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "ls", Aliases: []string{"list"}, Usage: "list applied events, the newest first",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "event", Usage: "only this event `ID`"},
			&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
			&cli.StringFlag{Name: "correlation-id", Usage: "only this correlation `ID`"},
			env.SinceFlag(), env.LimitFlag(),
			&cli.StringFlag{Name: "cursor", Usage: "continue after the page that ended with `NEXT`"},
			&cli.StringFlag{Name: "columns", Usage: "show only these comma-separated `KEYS`, in this order"},
		},
		Action: func(ctx *cli.Context) error {
			o := processedOptions{query: inbox.ListQuery{
				EventID: ctx.String("event"), Topic: ctx.String("topic"), CorrelationID: ctx.String("correlation-id"),
				After: ctx.String("cursor"), Limit: ctx.Int("limit"),
			}}
			if err := env.CheckLimit(o.query.Limit); err != nil {
				return err
			}
			var err error
			if o.query.Since, err = e.ParseSince(ctx.String("since")); err != nil {
				return err
			}
			if s := ctx.String("columns"); s != "" {
				o.columns = strings.Split(s, ",")
			}
			if err := console.CheckColumns(ProcessedColumns(""), o.columns); err != nil {
				return fail.Usagef("", "--columns: %v", err)
			}
			return o.run(ctx.Context, e)
		},
	}
}

type processedOptions struct {
	query   inbox.ListQuery
	columns []string // nil: the default ones
}

func (o processedOptions) run(ctx context.Context, e *env.Env) error {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	page, err := in.List(ctx, o.query)
	if err != nil {
		return fail.Wrap("cannot list the inbox", err)
	}
	list := console.List[inbox.Record]{Columns: ProcessedColumns(in.Consumer()), Items: page.Records, Next: page.Next, Show: o.columns}
	if err := console.RenderList(e.IO, list); err != nil {
		return err
	}
	if page.Next != "" && !e.IO.Structured() {
		n, more, err := in.Count(ctx, o.query, overview.CountBound)
		if err != nil {
			return fail.Wrap("cannot count the inbox", err)
		}
		e.IO.Notef("showing %d of %s; continue with --cursor %s", len(page.Records), overview.Bounded(int64(n), !more), page.Next)
	}
	return nil
}
