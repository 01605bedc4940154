package messages

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// seenEvent is what consumers have done with an event.
type seenEvent struct {
	id     string
	own    inbox.Sighting
	others []inbox.Sighting
}

var seenEventColumns = []console.Column[seenEvent]{
	{Key: "eventId", Value: func(s seenEvent) any { return s.id }, ID: true},
	{Key: "consumer", Value: func(s seenEvent) any { return s.own.Consumer }},
	{Key: "topic", Value: func(s seenEvent) any { return s.own.Record.Topic }},
	{Key: "correlationId", Value: func(s seenEvent) any { return s.own.Record.CorrelationID }},
	{Key: "occurredAt", Value: func(s seenEvent) any { return s.own.Record.OccurredAt }},
	{Key: "processedAt", Value: func(s seenEvent) any { return s.own.Record.ProcessedAt }},
	{Key: "payloadHash", Value: func(s seenEvent) any {
		if !s.own.Applied() {
			return nil
		}
		return hex.EncodeToString(s.own.Record.PayloadHash[:])
	}},
	{Key: "started", Value: func(s seenEvent) any { return s.own.Started }},
	{Key: "startedAt", Value: func(s seenEvent) any { return s.own.StartedAt }},
	{Key: "others", Value: func(s seenEvent) any {
		names := []string{}
		for _, other := range s.others {
			if other.Applied() {
				names = append(names, other.Consumer)
			}
		}
		return names
	}},
}

func inboxShowCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show what the consumer has done with one event, and which other consumers have applied it", ArgsUsage: "ID",
		Action: func(ctx *cli.Context) error {
			id, err := env.OneArg(ctx, "event id")
			if err != nil {
				return err
			}
			return showEvent(ctx.Context, e, id)
		},
	}
}

func showEvent(ctx context.Context, e *env.Env, id string) error {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	all, err := in.Sightings(ctx, id)
	if err != nil {
		return fail.Wrap("cannot show "+id, err)
	}
	if len(all) == 0 {
		return fail.New(fail.NotFound, "to see where it is: pulsectl trace "+id, "no consumer of this inbox has applied event %q, or remembers that it has", id)
	}
	s := seenEvent{id: id, own: inbox.Sighting{Consumer: in.Consumer()}}
	own := func(seen inbox.Sighting) bool { return seen.Consumer == in.Consumer() }
	if i := slices.IndexFunc(all, own); i >= 0 {
		s.own = all[i]
	}
	s.others = slices.DeleteFunc(all, own)
	if err := console.RenderOne(e.IO, seenEventColumns, s); err != nil {
		return err
	}
	if s.own.Started > 0 && !e.IO.Structured() {
		e.IO.Notef("redelivered and started without an end: it is being handled, or takes the process down; see: pulsectl trace %s", id)
	}
	return nil
}

// inboxStatus is what inbox stats shows.
type inboxStatus struct {
	inbox.Stats
	consumer        string
	instances, held int
}

var inboxStatsColumns = []console.Column[inboxStatus]{
	{Key: "consumer", Value: func(s inboxStatus) any { return s.consumer }},
	{Key: "applied", Value: func(s inboxStatus) any { return s.Applied.N }},
	{Key: "oldest", Value: func(s inboxStatus) any { return s.Oldest }},
	{Key: "newest", Value: func(s inboxStatus) any { return s.Newest }},
	{Key: "unfinished", Value: func(s inboxStatus) any { return s.Suspects.N }},
	{Key: "instances", Value: func(s inboxStatus) any { return s.instances }},
	{Key: "held", Value: func(s inboxStatus) any { return s.held }},
	{Key: "bounded", Value: func(s inboxStatus) any {
		names := []string{}
		if !s.Applied.Exact {
			names = append(names, "applied")
		}
		if !s.Suspects.Exact {
			names = append(names, "unfinished")
		}
		return names
	}},
}

func inboxStatsCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "stats", Usage: "count what the consumer has applied, and what its instances hold; counts of a big table are bounded and say so",
		Flags:  env.WatchFlags(),
		Action: func(ctx *cli.Context) error { return e.Watch(ctx, inboxStats) },
	}
}

func inboxStats(ctx context.Context, e *env.Env) error {
	var s inboxStatus
	err := fail.Within(ctx, env.LookLimit, func(ctx context.Context) error {
		in, _, err := e.Inbox(ctx)
		if err != nil {
			return err
		}
		s.consumer = in.Consumer()
		if s.Stats, err = in.Stats(ctx); err != nil {
			return fail.Wrap("cannot count the inbox", err)
		}
		instances, err := in.Instances(ctx)
		for _, i := range instances {
			if i.Live {
				s.instances, s.held = s.instances+1, s.held+i.Held
			}
		}
		return fail.Wrap("cannot list the instances", err)
	})
	if err != nil {
		return err
	}
	return console.RenderOne(e.IO, inboxStatsColumns, s)
}
