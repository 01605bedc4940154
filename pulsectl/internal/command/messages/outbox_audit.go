package messages

import (
	"context"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

var auditColumns = []console.Column[outbox.AuditEntry]{
	{Key: "entry", Value: func(a outbox.AuditEntry) any { return a.ID }, ID: true, Wide: true},
	{Key: "at", Value: func(a outbox.AuditEntry) any { return a.At }, Head: "AGE", Keep: 5},
	{Key: "actor", Value: func(a outbox.AuditEntry) any { return a.Actor }, Keep: 4, Min: 8},
	{Key: "action", Value: func(a outbox.AuditEntry) any { return a.Action }, Keep: 6},
	{Key: "count", Value: func(a outbox.AuditEntry) any { return a.Count }, Keep: 3},
	{Key: "reason", Value: func(a outbox.AuditEntry) any { return a.Reason }, Keep: 2, Min: 12},
	{Key: "filter", Value: auditFilter, Keep: 1, Min: 12},
	{Key: "ids", Value: auditIDs, Wide: true},
}

func auditFilter(a outbox.AuditEntry) any {
	if a.Filter == nil {
		return map[string]string{}
	}
	return a.Filter
}

func auditIDs(a outbox.AuditEntry) any {
	if a.IDs == nil {
		return []string{}
	}
	return a.IDs
}

func outboxAuditCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "list what was done to the outbox by hand, the newest first: who, when, what and why",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "actor", Usage: "only what `NAME` did"},
			&cli.StringFlag{Name: "action", Usage: "only this `ACTION`, such as retry, discard or replay"},
			&cli.StringFlag{Name: "id", Usage: "only what names this message `ID`; of many messages the first 100 are named"},
			env.SinceFlag(), env.LimitFlag(),
			&cli.StringFlag{Name: "cursor", Usage: "continue after the page that ended with `NEXT`"},
			&cli.StringFlag{Name: "columns", Usage: "show only these comma-separated `KEYS`, in this order"},
		},
		Action: func(ctx *cli.Context) error {
			o := auditOptions{query: outbox.AuditQuery{
				Actor: ctx.String("actor"), Action: ctx.String("action"), MessageID: strings.ToLower(ctx.String("id")), Limit: ctx.Int("limit"),
			}}
			if err := env.CheckLimit(o.query.Limit); err != nil {
				return err
			}
			var err error
			if o.query.Since, err = e.ParseSince(ctx.String("since")); err != nil {
				return err
			}
			if o.query.After, err = parseCursor(ctx.String("cursor")); err != nil {
				return err
			}
			if s := ctx.String("columns"); s != "" {
				o.columns = strings.Split(s, ",")
			}
			if err := console.CheckColumns(auditColumns, o.columns); err != nil {
				return fail.Usagef("", "--columns: %v", err)
			}
			return o.run(ctx.Context, e)
		},
	}
}

type auditOptions struct {
	query   outbox.AuditQuery
	columns []string // nil: the default ones
}

func (o auditOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	page, err := ob.Audit(ctx, o.query)
	if err != nil {
		return fail.Wrap("cannot list what was done by hand", err)
	}
	list := console.List[outbox.AuditEntry]{Columns: auditColumns, Items: page.Entries, Show: o.columns}
	if page.Next != 0 {
		list.Next = strconv.FormatInt(page.Next, 10)
	}
	if err := console.RenderList(e.IO, list); err != nil {
		return err
	}
	if page.Next != 0 && !e.IO.Structured() {
		e.IO.Notef("there are older ones; continue with --cursor %d", page.Next)
	}
	return nil
}
