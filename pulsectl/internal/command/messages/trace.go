package messages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/journey"
)

// traceCommand returns the command trace; outbox trace is the same.
func traceCommand(e *env.Env, aliases ...string) *cli.Command {
	return &cli.Command{
		Name: "trace", Aliases: aliases, ArgsUsage: "ID",
		Usage: "follow one message through outbox, queues and inbox; say why it is stuck; ID is an event id, a key such as an order id, or a correlation id",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "look", Value: "auto", Usage: "`WHEN` to look into queues, which takes messages and puts them back: auto (if the databases do not tell where the message is), always (also into the consumer's queue, if nobody consumes it), never"},
			&cli.IntFlag{Name: "look-limit", Value: journey.DefaultLookLimit, Usage: "look into no queue with more than `N` messages"},
			&cli.DurationFlag{Name: "search", Value: journey.DefaultSearch, Usage: "search the databases for at most `DURATION` by key, correlation and causation, which have no index"},
			&cli.IntFlag{Name: "limit", Value: journey.DefaultLimit, Usage: "follow at most `N` messages"},
		},
		Action: func(ctx *cli.Context) error {
			word, err := env.OneArg(ctx, "id")
			if err != nil {
				return err
			}
			if word = strings.TrimSpace(word); word == "" {
				return fail.Usagef("ids are printed by: pulsectl outbox ls -q", "the id is empty")
			}
			o := journey.Options{LookLimit: ctx.Int("look-limit"), Search: ctx.Duration("search"), Limit: ctx.Int("limit")}
			switch look := ctx.String("look"); look {
			case "auto":
			case string(journey.LookAlways), string(journey.LookNever):
				o.Look = journey.QueueLook(look)
			default:
				return fail.Usagef("have: auto, always, never", "--look: unknown value %q", look)
			}
			switch {
			case o.LookLimit < 1:
				return fail.Usagef("to look into no queue: --look never", "--look-limit: %d is not positive", o.LookLimit)
			case o.Search <= 0:
				return fail.Usagef("", "--search: %s is not positive", o.Search)
			}
			if err := env.CheckLimit(o.Limit); err != nil {
				return err
			}
			return trace(ctx.Context, e, word, o)
		},
	}
}

func trace(ctx context.Context, e *env.Env, word string, o journey.Options) error {
	sources, err := e.Journey(ctx)
	if err != nil {
		return err
	}
	if sources.Outbox == nil && sources.Inbox == nil && sources.Queues == nil {
		if err := errors.Join(sources.OutboxErr, sources.InboxErr, sources.QueuesErr); err != nil {
			return fail.Wrap("cannot look anywhere", err)
		}
		return fail.Usagef("start a stack with pulsectl up, or set PULSE_OUTBOX_DB, PULSE_INBOX_DB and PULSE_AMQP_URL", "no outbox, inbox or broker given")
	}
	var j *journey.Journey
	looking := func() string { return "outbox, inbox and queues to answer" }
	err = e.IO.Wait(ctx, looking, func(io.Writer) error {
		j, err = journey.Find(ctx, sources, word, o)
		return err
	})
	switch {
	case errors.Is(err, journey.ErrNotFound):
		return untraced(j, err)
	case err != nil:
		return fail.Wrap("cannot trace "+word, err)
	}
	if err := renderJourney(e.IO, j); err != nil {
		return err
	}
	if j.Incomplete != nil {
		return &fail.Error{Kind: fail.Partial, Message: "the journey is not complete", Cause: j.Incomplete, Hint: "check that the servers are up: " + "pulsectl status"}
	}
	return nil
}

// untraced returns the error for a word that was not found: that there is no
// such message, or that what may know it does not answer.
func untraced(j *journey.Journey, err error) error {
	if away := j.Away(); away != nil {
		f := fail.From(away)
		return &fail.Error{Kind: f.Kind, Message: j.Asked + " was not found, and not everything could be looked at", Cause: away, Hint: f.Hint}
	}
	missing := &fail.Error{Kind: fail.NotFound, Message: fmt.Sprintf("%s: %v", j.Asked, err),
		Hint: "give an event id, the key that the message was enqueued with, or a correlation id: pulsectl outbox ls -o wide"}
	if more := slices.Concat(j.Unseen, j.Notes); len(more) > 0 {
		missing.Cause = errors.New(strings.Join(more, "; "))
	}
	return missing
}

// tracedColumns are the columns of a message in a pipe, and the beginning of its
// object in JSON.
var tracedColumns = []console.Column[journey.Message]{
	{Key: "id", Value: func(m journey.Message) any { return m.ID }, ID: true},
	{Key: "topic", Value: func(m journey.Message) any { return m.Topic }},
	{Key: "type", Value: func(m journey.Message) any { return m.Type }},
	{Key: "key", Value: func(m journey.Message) any { return m.Key }},
	{Key: "correlationId", Value: func(m journey.Message) any { return m.CorrelationID }},
	{Key: "causationId", Value: func(m journey.Message) any { return m.CausationID }},
	{Key: "depth", Value: func(m journey.Message) any { return m.Depth }},
	{Key: "asked", Value: func(m journey.Message) any { return m.Asked }},
	{Key: "state", Value: func(m journey.Message) any { return string(m.Verdict.State) }},
	{Key: "stuck", Value: func(m journey.Message) any { return m.Verdict.Stuck }},
	{Key: "why", Value: func(m journey.Message) any { return m.Verdict.Why }},
	{Key: "command", Value: func(m journey.Message) any { return m.Verdict.Command }},
	{Key: "outbox", Value: rowJSON, Only: true},
	{Key: "queues", Value: copiesJSON, Only: true},
	{Key: "inbox", Value: applicationsJSON, Only: true},
}

var journeyColumns = []console.Column[*journey.Journey]{
	{Key: "asked", Value: func(j *journey.Journey) any { return j.Asked }},
	{Key: "kind", Value: func(j *journey.Journey) any { return string(j.Kind) }},
	{Key: "messages", Value: func(j *journey.Journey) any { return console.Objects(tracedColumns, j.Messages) }},
	{Key: "more", Value: func(j *journey.Journey) any { return j.More }},
	{Key: "queues", Value: queuesJSON},
	{Key: "unseen", Value: func(j *journey.Journey) any { return texts(j.Unseen) }},
	{Key: "notes", Value: func(j *journey.Journey) any { return texts(j.Notes) }},
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// object is a nested object in JSON.
type object map[string]any

func instant(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UTC().Format(time.RFC3339Nano)
}

func rowJSON(m journey.Message) any {
	r := m.Outbox
	if r == nil {
		return nil
	}
	o := object{
		"ofConsumer": r.Next, "status": string(r.Status), "attempts": r.Attempts, "lastError": r.LastError, "bucket": r.Bucket, "relay": r.Relay,
		"occurredAt": instant(r.OccurredAt), "createdAt": instant(r.CreatedAt), "availableAt": instant(r.AvailableAt),
		"publishedAt": instant(r.PublishedAt), "discardedAt": instant(r.DiscardedAt),
		"before": r.Before, "bytes": r.Bytes, "blockedBy": nil,
	}
	if b := r.Ahead; b != nil {
		o["blockedBy"] = object{"id": b.ID, "status": string(b.Status), "attempts": b.Attempts, "lastError": b.LastError}
	}
	return o
}

func copiesJSON(m journey.Message) any {
	list := []object{}
	for _, c := range m.Copies {
		list = append(list, object{"queue": c.Queue, "place": string(c.Place), "position": c.Position, "dueAt": instant(c.DueAt),
			"attempts": c.Attempts, "reason": c.Reason, "error": c.Error, "failedAt": instant(c.FailedAt), "consumer": c.Consumer})
	}
	return list
}

func applicationsJSON(m journey.Message) any {
	list := []object{}
	for _, a := range m.Inbox {
		list = append(list, object{"consumer": a.Consumer, "appliedAt": instant(a.AppliedAt), "otherBody": a.OtherBody,
			"started": a.Started, "startedAt": instant(a.StartedAt)})
	}
	return list
}

func queuesJSON(j *journey.Journey) any {
	list := []object{}
	for _, q := range j.Queues {
		list = append(list, object{"name": q.Name, "place": string(q.Place), "missing": q.Missing, "ready": q.Ready, "consumers": q.Consumers,
			"lookedAt": q.Seen, "copied": q.Copied, "counted": q.Counted, "notLooked": q.NotLooked})
	}
	return list
}
