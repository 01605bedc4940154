package messages

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// RecordColumns are the columns of outbox ls.
var RecordColumns = []console.Column[outbox.Record]{
	{Key: "seq", Value: func(r outbox.Record) any { return r.Seq }, Wide: true},
	{Key: "id", Value: func(r outbox.Record) any { return r.ID.String() }, ID: true},
	{Key: "topic", Value: func(r outbox.Record) any { return r.Topic }, Keep: 1, Min: 13},
	{Key: "type", Value: func(r outbox.Record) any { return r.Type }, Wide: true},
	{Key: "key", Value: func(r outbox.Record) any { return r.Key }, Wide: true},
	{Key: "status", Value: func(r outbox.Record) any { return string(r.Status) }, Tone: statusTone, Keep: 5},
	{Key: "attempts", Value: func(r outbox.Record) any { return r.Attempts }, Head: "TRIES", Keep: 2},
	{Key: "createdAt", Value: func(r outbox.Record) any { return r.CreatedAt }, Head: "AGE", Keep: 4},
	{Key: "availableAt", Value: func(r outbox.Record) any { return r.AvailableAt }, Wide: true},
	{Key: "publishedAt", Value: func(r outbox.Record) any { return r.PublishedAt }, Head: "PUBLISHED"},
	{Key: "correlationId", Value: func(r outbox.Record) any { return r.CorrelationID }, Wide: true},
	{Key: "causationId", Value: func(r outbox.Record) any { return r.CausationID }, Wide: true},
	{Key: "bucket", Value: func(r outbox.Record) any { return r.Bucket }, Wide: true},
	{Key: "blockedBy", Value: blockedBy, Wide: true},
	{Key: "failedAt", Value: func(r outbox.Record) any { return r.FailedAt }, Wide: true},
	{Key: "lastError", Value: func(r outbox.Record) any { return r.LastError }, Keep: 3, Min: 16},
}

func blockedBy(r outbox.Record) any {
	if r.BlockedBy == uuid.Nil {
		return nil
	}
	return r.BlockedBy.String()
}

func statusTone(r outbox.Record) console.Tone {
	switch {
	case r.Status == outbox.Published:
		return console.Good
	case r.Status == outbox.Dead:
		return console.Bad
	case r.Status == outbox.Discarded:
		return console.Dim
	case r.Retrying():
		return console.Warn
	}
	return console.Plain
}

func outboxCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "outbox", Usage: "inspect and repair messages that wait to be published",
		Subcommands: []*cli.Command{
			outboxListCommand(e),
			{
				Name: "show", Usage: "show one message with its payload and headers", ArgsUsage: "ID",
				Action: func(ctx *cli.Context) error {
					id, err := oneID(ctx)
					if err != nil {
						return err
					}
					return showRecord(ctx.Context, e, id)
				},
			},
			{
				Name: "stats", Usage: "count messages by status; counts of a big table are bounded or estimated and say so",
				Flags:  env.WatchFlags(),
				Action: func(ctx *cli.Context) error { return e.Watch(ctx, outboxStats) },
			},
			outboxErrorsCommand(e), outboxTailCommand(e),
			{
				Name: "relays", Usage: "list the relays: who holds which buckets since when, the last sign of life, the version",
				Flags:  env.WatchFlags(),
				Action: func(ctx *cli.Context) error { return e.Watch(ctx, outboxRelays) },
			},
			traceCommand(e), outboxRetryCommand(e), outboxDiscardCommand(e), outboxPurgeCommand(e), outboxPauseCommand(e), outboxResumeCommand(e),
			{
				Name: "pauses", Usage: "list what is paused, since when, by whom and why",
				Action: func(ctx *cli.Context) error { return outboxPauses(ctx.Context, e) },
			},
			outboxAuditCommand(e),
			{
				Name: "wait", Usage: "return once nothing is pending",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "drained", Usage: "wait until no message is pending"},
					env.TimeoutFlag(time.Minute),
				},
				Action: func(ctx *cli.Context) error {
					if !ctx.Bool("drained") {
						return fail.Usagef("run: pulsectl outbox wait --drained", "--drained is missing")
					}
					return waitDrained(ctx.Context, e, ctx.Duration("timeout"))
				},
			},
		},
	}
}

func oneID(ctx *cli.Context) (uuid.UUID, error) {
	word, err := env.OneArg(ctx, "event id")
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(word)
	if err != nil {
		return uuid.Nil, fail.Usagef("ids are printed by: pulsectl outbox ls -q", "%q is not an event id", word)
	}
	return id, nil
}

func outboxListCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "ls", Aliases: []string{"list"}, Usage: "list messages, the newest first",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "status", Usage: "only `STATUS`: pending (including retrying), retrying, published, dead, discarded; several separated by commas"},
			&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`"},
			&cli.StringFlag{Name: "type", Usage: "only this event `TYPE`"},
			&cli.StringFlag{Name: "key", Usage: "only this ordering `KEY`"},
			&cli.StringFlag{Name: "correlation-id", Usage: "only this correlation `ID`"},
			&cli.StringFlag{Name: "error", Usage: "only those whose last error contains `TEXT`"},
			env.SinceFlag(), env.LimitFlag(),
			&cli.BoolFlag{Name: "oldest-first", Usage: "list the oldest first"},
			&cli.StringFlag{Name: "cursor", Usage: "continue after the page that ended with `NEXT`"},
			&cli.StringFlag{Name: "columns", Usage: "show only these comma-separated `KEYS`, in this order"},
		},
		Action: func(ctx *cli.Context) error {
			q, err := listQuery(ctx, e)
			if err != nil {
				return err
			}
			o := listOptions{query: q}
			if s := ctx.String("columns"); s != "" {
				o.columns = strings.Split(s, ",")
			}
			if err := console.CheckColumns(RecordColumns, o.columns); err != nil {
				return fail.Usagef("", "--columns: %v", err)
			}
			return o.run(ctx.Context, e)
		},
	}
}

func listQuery(ctx *cli.Context, e *env.Env) (outbox.ListQuery, error) {
	q := outbox.ListQuery{
		Topic: ctx.String("topic"), Type: ctx.String("type"), Key: ctx.String("key"),
		CorrelationID: ctx.String("correlation-id"), ErrorContains: ctx.String("error"),
		Limit: ctx.Int("limit"), OldestFirst: ctx.Bool("oldest-first"), WithoutPayload: true,
	}
	if err := env.CheckLimit(q.Limit); err != nil {
		return q, err
	}
	var err error
	if q.Since, err = e.ParseSince(ctx.String("since")); err != nil {
		return q, err
	}
	if q.After, err = parseCursor(ctx.String("cursor")); err != nil {
		return q, err
	}
	q.Statuses, q.Retrying, err = ParseStatuses(ctx.String("status"))
	return q, err
}

// parseCursor reads --cursor of a list whose pages end with a number; empty gives 0.
func parseCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	after, err := strconv.ParseInt(s, 10, 64)
	if err != nil || after < 1 {
		return 0, fail.Usagef("use the \"next\" of the previous page", "--cursor: %q is not a cursor", s)
	}
	return after, nil
}

// ParseStatuses reads --status, where retrying is pending with attempts.
func ParseStatuses(s string) (statuses []outbox.Status, retrying bool, err error) {
	if s == "" {
		return nil, false, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		if word == "retrying" {
			retrying = true
			continue
		}
		status, err := outbox.ParseStatus(word)
		if err != nil {
			return nil, false, fail.Usagef("have: pending, retrying, published, dead, discarded", "--status: unknown status %q", word)
		}
		statuses = append(statuses, status)
	}
	if retrying && len(statuses) > 0 {
		return nil, false, fail.Usagef("", "--status: retrying cannot be combined; pending includes it")
	}
	return statuses, retrying, nil
}

type listOptions struct {
	query   outbox.ListQuery
	columns []string // nil: the default ones
}

func (o listOptions) run(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	page, err := ob.List(ctx, o.query)
	if err != nil {
		return fail.Wrap("cannot list the outbox", err)
	}
	list := console.List[outbox.Record]{Columns: RecordColumns, Items: page.Records, Show: o.columns}
	if page.Next != 0 {
		list.Next = strconv.FormatInt(page.Next, 10)
	}
	if err := console.RenderList(e.IO, list); err != nil {
		return err
	}
	if page.Next == 0 || e.IO.Structured() {
		return nil
	}
	total, more, err := ob.Count(ctx, o.query, overview.CountBound)
	if err != nil {
		return fail.Wrap("cannot count the outbox", err)
	}
	e.IO.Notef("showing %d of %s; continue with --cursor %d", len(page.Records), overview.Bounded(int64(total), !more), page.Next)
	return nil
}

func showRecord(ctx context.Context, e *env.Env, id uuid.UUID) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	rec, err := ob.Get(ctx, id)
	if err != nil {
		return fail.Wrap("cannot show "+id.String(), err)
	}
	columns := append(RecordColumns[:len(RecordColumns):len(RecordColumns)],
		console.Column[outbox.Record]{Key: "occurredAt", Value: func(r outbox.Record) any { return r.OccurredAt }},
		console.Column[outbox.Record]{Key: "contentType", Value: func(r outbox.Record) any { return r.ContentType }},
		console.Column[outbox.Record]{Key: "headers", Value: func(r outbox.Record) any { return r.Headers }},
		console.Column[outbox.Record]{Key: "payload", Value: func(r outbox.Record) any { return Payload(r.Payload) }},
	)
	if err := console.RenderOne(e.IO, columns, rec); err != nil {
		return err
	}
	switch {
	case e.IO.Structured():
	case rec.Status == outbox.Dead:
		e.IO.Notef("dead; to publish it: pulsectl outbox retry %s", rec.ID)
	case rec.BlockedBy != uuid.Nil:
		e.IO.Notef("blocked by an earlier message of its key that failed: pulsectl outbox show %s", rec.BlockedBy)
	}
	return nil
}

func waitDrained(ctx context.Context, e *env.Env, timeout time.Duration) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	looks, nobody := 0, ""
	err = e.IO.Until(ctx, timeout, "the outbox to drain", func(ctx context.Context) (string, error) {
		n, more, err := ob.Count(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Pending}}, overview.CountBound)
		if err != nil || n == 0 {
			return "", err
		}
		if looks++; looks%10 == 1 { // not every time: it changes rarely
			alive, _, err := overview.Relays(ctx, ob)
			if err != nil {
				return "", err
			}
			pauses, err := ob.Pauses(ctx)
			if err != nil {
				return "", err
			}
			switch nobody = ""; {
			case len(pauses) > 0:
				nobody = ", and paused is " + strings.Join(overview.PausedTopics(pauses), ", ")
			case alive == 0:
				nobody = ", and no relay is ready to publish"
			}
		}
		return overview.Bounded(int64(n), !more) + " still pending" + nobody, nil
	})
	if err != nil {
		return err
	}
	type T struct{ drained bool }
	return console.RenderOne(e.IO, []console.Column[T]{{Key: "drained", Value: func(t T) any { return t.drained }}}, T{true})
}
