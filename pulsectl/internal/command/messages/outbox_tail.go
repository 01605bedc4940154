package messages

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// tailInterval is the pause of tail -f where nothing was new.
const tailInterval = 500 * time.Millisecond

func outboxTailCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "tail", Usage: "show the newest messages; with -f go on with those that are enqueued, until Ctrl-C",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "show messages as their transactions commit"},
			&cli.IntFlag{Name: "limit", Value: 10, Usage: "begin with the newest `N` messages"},
			&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
			&cli.StringFlag{Name: "type", Usage: "only this event `TYPE`"},
			&cli.StringFlag{Name: "key", Usage: "only this ordering `KEY`"},
			&cli.StringFlag{Name: "correlation-id", Usage: "only this correlation `ID`"},
		},
		Action: func(ctx *cli.Context) error {
			o := tailOptions{
				limit: ctx.Int("limit"), follow: ctx.Bool("follow"),
				query: outbox.ListQuery{
					Topic: ctx.String("topic"), Type: ctx.String("type"), Key: ctx.String("key"),
					CorrelationID: ctx.String("correlation-id"), WithoutPayload: true,
				},
			}
			if o.limit < 0 || o.limit > outbox.MaxLimit {
				return fail.Usagef("", "--limit: %d is not between 0 and %d", o.limit, outbox.MaxLimit)
			}
			return o.run(ctx.Context, e)
		},
	}
}

type tailOptions struct {
	query  outbox.ListQuery
	limit  int
	follow bool
}

func (o tailOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	tail := ob.Tail(o.query)
	begun, err := tail.Begin(ctx, o.limit)
	if err != nil {
		return fail.Wrap("cannot read the outbox", err)
	}
	if !o.follow {
		return console.RenderList(e.IO, console.List[outbox.Record]{Columns: RecordColumns, Items: begun})
	}
	if e.IO.Resolved() == console.JSON { // a document that does not end cannot be read
		e.IO.Format = console.JSONL
	}
	lines := tailLines{e: e}
	if err := lines.write(begun); err != nil {
		return err
	}
	away := false
	for {
		fresh, more, err := tail.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // as intended
		case err != nil && fail.From(err).Kind == fail.Schema:
			return fail.Wrap("cannot read the outbox", err)
		case err != nil && !away:
			e.IO.Notef("cannot read the outbox, and goes on trying: %v", err)
		}
		away = err != nil
		if err := lines.write(fresh); err != nil {
			return err
		}
		if more && !away {
			continue
		}
		select {
		case <-time.After(tailInterval):
		case <-ctx.Done():
			return nil
		}
	}
}

// tailLines writes records as they come. On a terminal each is a line; its columns
// become wider when they have to.
type tailLines struct {
	e     *env.Env
	topic int
}

func (l *tailLines) write(records []outbox.Record) error {
	c := l.e.IO
	if f := c.Resolved(); f != console.Table {
		if f == console.Wide { // without a heading again and again
			c.Format = console.TSV
		}
		if len(records) == 0 {
			return nil
		}
		return console.RenderList(c, console.List[outbox.Record]{Columns: RecordColumns, Items: records})
	}
	for _, r := range records {
		l.topic = max(l.topic, len(r.Topic))
		line := fmt.Sprintf("%s  %s  %-*s  %s", console.Clock(r.CreatedAt), r.ID, l.topic, r.Topic, c.Paint(statusTone(r), string(r.Status)))
		if r.Key != "" {
			line += "  " + c.Paint(console.Dim, "key ") + console.Visible(r.Key)
		}
		if r.LastError != "" {
			line += "  " + console.Visible(r.LastError)
		}
		c.Println(line)
	}
	return nil
}
