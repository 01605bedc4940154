package dlq

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

type (
	letter = deadletters.Letter
	detail = deadletters.Detail
)

var letterColumns = []console.Column[letter]{
	{Key: "id", Value: func(l letter) any { return l.Ref }, ID: true},
	{Key: "queue", Value: func(l letter) any { return l.Queue }, Wide: true},
	{Key: "position", Value: func(l letter) any { return l.Position }, Wide: true},
	{Key: "type", Value: func(l letter) any { return l.Type }, Keep: 3, Min: 8},
	{Key: "topic", Value: func(l letter) any { return l.Topic }, Wide: true},
	{Key: "key", Value: func(l letter) any { return l.Key }, Wide: true},
	{Key: "reason", Value: func(l letter) any { return l.Reason }, Keep: 4},
	{Key: "attempts", Value: func(l letter) any { return l.Attempts }, Head: "TRIES", Keep: 1},
	{Key: "requeues", Value: func(l letter) any { return l.Requeues }, Wide: true},
	{Key: "lastFailedAt", Value: func(l letter) any { return l.LastFailedAt }, Head: "AGE", Keep: 2},
	{Key: "firstFailedAt", Value: func(l letter) any { return l.FirstFailedAt }, Wide: true},
	{Key: "occurredAt", Value: func(l letter) any { return l.OccurredAt }, Wide: true},
	{Key: "consumer", Value: func(l letter) any { return l.Consumer }, Wide: true},
	{Key: "producer", Value: func(l letter) any { return l.Producer }, Wide: true},
	{Key: "correlationId", Value: func(l letter) any { return l.CorrelationID }, Wide: true},
	{Key: "causationId", Value: func(l letter) any { return l.CausationID }, Wide: true},
	{Key: "eventId", Value: func(l letter) any { return orNull(l.EventID) }, Only: true},
	{Key: "format", Value: func(l letter) any { return l.Format }, Wide: true},
	{Key: "size", Value: func(l letter) any { return l.Size }, Wide: true},
	{Key: "group", Value: func(l letter) any { return l.Group }, Wide: true},
	{Key: "firstError", Value: func(l letter) any { return l.FirstError }, Wide: true},
	{Key: "error", Value: func(l letter) any { return l.Error }, Keep: 5, Min: 16},
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// group is a group of letters in a queue.
type group struct {
	deadletters.Group
	queue string
}

var groupColumns = []console.Column[group]{
	{Key: "group", Value: func(g group) any { return g.ID }, ID: true},
	{Key: "queue", Value: func(g group) any { return g.queue }, Wide: true},
	{Key: "count", Value: func(g group) any { return g.Count }, Keep: 5},
	{Key: "reason", Value: func(g group) any { return g.Reason }, Keep: 3},
	{Key: "firstAt", Value: func(g group) any { return g.First }, Head: "FIRST", Keep: 1},
	{Key: "lastAt", Value: func(g group) any { return g.Last }, Head: "LAST", Keep: 2},
	{Key: "example", Value: func(g group) any { return g.Example.Ref }, Wide: true},
	{Key: "error", Value: func(g group) any { return g.Error }, Keep: 4, Min: 20, Wrap: true},
}

func listCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "ls", Aliases: []string{"list"}, Usage: "list dead letters, in the order of the queue; reads the whole queue and leaves it as it was", ArgsUsage: "[ID... | -]",
		Flags: slices.Concat(queueFlags(), filterFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "group", Usage: "show groups of the same reason and error instead, as dlq stats"},
			env.LimitFlag(),
			&cli.StringFlag{Name: "cursor", Usage: "continue after the page that ended with `NEXT`"},
			&cli.StringFlag{Name: "columns", Usage: "show only these comma-separated `KEYS`, in this order"},
		}),
		Action: func(ctx *cli.Context) error {
			f, err := readFilter(ctx, e)
			if err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			if ctx.Bool("group") {
				return stats(ctx.Context, e, queues, f)
			}
			q := deadletters.Query{Filter: f, Limit: ctx.Int("limit"), After: ctx.String("cursor")}
			if err := env.CheckLimit(q.Limit); err != nil {
				return err
			}
			if q.After != "" && len(queues) > 1 {
				return fail.Usagef("", "--cursor: give the queue")
			}
			var columns []string
			if s := ctx.String("columns"); s != "" {
				columns = strings.Split(s, ",")
			}
			if err := console.CheckColumns(letterColumns, columns); err != nil {
				return fail.Usagef("", "--columns: %v", err)
			}
			return list(ctx.Context, e, queues, q, columns)
		},
	}
}

func list(ctx context.Context, e *env.Env, queues []deadletters.Queue, q deadletters.Query, columns []string) error {
	out := console.List[letter]{Columns: letterColumns, Show: columns}
	matched := 0
	err := reading(ctx, e, "the dead letters", queues, func(queue deadletters.Queue) error {
		s, err := queue.Survey(ctx, q)
		if err != nil {
			return err
		}
		matched += s.Matched
		out.Items = append(out.Items, s.Letters...)
		if len(queues) == 1 {
			out.Next = s.Next
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := console.RenderList(e.IO, out); err != nil {
		return err
	}
	if matched > len(out.Items) && !e.IO.Structured() {
		e.IO.Notef("showing %d of %s%s", len(out.Items), reconcile.Thousands(matched), continued(out.Next))
	}
	return nil
}

func continued(next string) string {
	if next == "" {
		return ""
	}
	return "; continue with --cursor " + next
}

func statsCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "stats", Usage: "group dead letters by reason and error, the largest group first; reads the whole queue and leaves it as it was", ArgsUsage: "[ID... | -]",
		Flags: slices.Concat(queueFlags(), filterFlags()),
		Action: func(ctx *cli.Context) error {
			f, err := readFilter(ctx, e)
			if err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			return stats(ctx.Context, e, queues, f)
		},
	}
}

func stats(ctx context.Context, e *env.Env, queues []deadletters.Queue, f deadletters.Filter) error {
	var groups []group
	seen, ungrouped := 0, 0
	err := reading(ctx, e, "the dead letters", queues, func(queue deadletters.Queue) error {
		s, err := queue.Survey(ctx, deadletters.Query{Filter: f, Groups: true})
		if err != nil {
			return err
		}
		seen += s.Seen
		ungrouped += s.Ungrouped
		for _, g := range s.Groups {
			groups = append(groups, group{g, s.Queue})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(groups, func(a, b group) int { return b.Count - a.Count })
	if err := console.RenderList(e.IO, console.List[group]{Columns: groupColumns, Items: groups}); err != nil {
		return err
	}
	if e.IO.Structured() {
		return nil
	}
	if ungrouped > 0 {
		e.IO.Notef("%s more letters are in none of these groups: there would be too many; give a filter", reconcile.Thousands(ungrouped))
	}
	if len(groups) > 0 && e.IO.OutTTY {
		e.IO.Notef("%s dead letters; next: pulsectl dlq show %s, and when the cause is gone: pulsectl dlq heal --group-id %s",
			reconcile.Thousands(seen), groups[0].Example.Ref, groups[0].ID)
	}
	return nil
}
