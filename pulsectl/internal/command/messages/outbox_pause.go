package messages

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

var pauseColumns = []console.Column[outbox.Pause]{
	{Key: "topic", Value: func(p outbox.Pause) any { return overview.PausedName(p.Topic) }, ID: true},
	{Key: "since", Value: func(p outbox.Pause) any { return p.Since }, Keep: 2},
	{Key: "actor", Value: func(p outbox.Pause) any { return p.Actor }, Keep: 1, Min: 8},
	{Key: "reason", Value: func(p outbox.Pause) any { return p.Reason }, Keep: 3, Min: 16},
}

func outboxPauseCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "pause", Usage: "make all relays stop publishing, until resume; messages are accepted and stay pending",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "topic", Usage: "only this `TOPIC`; later messages of its keys wait with it"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; shown to whoever looks why nothing is published"},
		},
		Action: func(ctx *cli.Context) error {
			topic, err := pausedTopic(ctx)
			if err != nil {
				return err
			}
			reason := strings.TrimSpace(ctx.String("reason"))
			if reason == "" {
				return fail.Usagef("run: pulsectl outbox pause --reason \"the broker is being moved\"", "--reason is missing")
			}
			return pauseOutbox(ctx.Context, e, topic, reason)
		},
	}
}

func outboxResumeCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "let relays publish again what outbox pause has stopped",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "topic", Usage: "only the pause of this `TOPIC`; without, the pause of all topics"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit table"},
		},
		Action: func(ctx *cli.Context) error {
			topic, err := pausedTopic(ctx)
			if err != nil {
				return err
			}
			return resumeOutbox(ctx.Context, e, topic, ctx.String("reason"))
		},
	}
}

// pausedTopic reads --topic; empty: all topics. An empty value is none: from a variable
// that is not set it would stop everything.
func pausedTopic(ctx *cli.Context) (string, error) {
	switch topic := ctx.String("topic"); {
	case ctx.IsSet("topic") && topic == "":
		return "", fail.Usagef("leave it out for all topics", "--topic: is empty")
	case ctx.Args().Present():
		return "", fail.Usagef("run: "+ctx.Command.HelpName+" --topic "+ctx.Args().First(), "unexpected argument %q", ctx.Args().First())
	default:
		return topic, nil
	}
}

// pausing is the result of pause and resume.
type pausing struct {
	topic   string
	paused  bool
	changed bool
}

func renderPausing(e *env.Env, p pausing) error {
	return console.RenderOne(e.IO, []console.Column[pausing]{
		{Key: "topic", Value: func(p pausing) any { return overview.PausedName(p.topic) }},
		{Key: "paused", Value: func(p pausing) any { return p.paused }},
		{Key: "changed", Value: func(p pausing) any { return p.changed }},
	}, p)
}

func pauseOutbox(ctx context.Context, e *env.Env, topic, reason string) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	fresh, err := ob.Operator(e.Actor(), reason).Pause(ctx, topic)
	if err != nil {
		return fail.Wrap("cannot pause", err)
	}
	if err := renderPausing(e, pausing{topic, true, fresh}); err != nil {
		return err
	}
	if !fresh {
		e.IO.Notef("it was paused already: pulsectl outbox pauses")
	}
	relays, err := ob.Relays(ctx)
	if err != nil {
		return fail.Wrap("paused, and cannot list the relays", err)
	}
	for _, r := range relays {
		if r.Live && r.Version == "" {
			e.IO.Notef("relay %s is of a former version, which knows no pauses and publishes on", r.Owner)
		}
	}
	return nil
}

func resumeOutbox(ctx context.Context, e *env.Env, topic, reason string) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	ended, err := ob.Operator(e.Actor(), reason).Resume(ctx, topic)
	if err != nil {
		return fail.Wrap("cannot resume", err)
	}
	left, err := ob.Pauses(ctx)
	if err != nil {
		return fail.Wrap("cannot list the pauses", err)
	}
	if err := renderPausing(e, pausing{topic, false, ended}); err != nil {
		return err
	}
	if !ended {
		e.IO.Notef("it was not paused")
	}
	if len(left) > 0 {
		e.IO.Notef("still paused: %s", strings.Join(overview.PausedTopics(left), ", "))
	}
	return nil
}

func outboxPauses(ctx context.Context, e *env.Env) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	pauses, err := ob.Pauses(ctx)
	if err != nil {
		return fail.Wrap("cannot list the pauses", err)
	}
	return console.RenderList(e.IO, console.List[outbox.Pause]{Columns: pauseColumns, Items: pauses})
}
