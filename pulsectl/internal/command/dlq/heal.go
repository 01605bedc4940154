package dlq

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

func healCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "heal", Usage: "requeue 1, 2, 5, 10, 20 ... dead letters, each wave when all of the one before are applied; ends at the first that fails again", ArgsUsage: "[ID... | -]",
		Flags: slices.Concat(queueFlags()[:1], filterFlags(), []cli.Flag{
			allFlag(), mostFlag(), rateFlag(),
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "give up, with exit code 7, when a wave has no outcome after `DURATION`"},
			&cli.StringFlag{Name: "reason", Usage: "`REASON`; kept in the audit of the outbox"},
		}),
		Action: func(ctx *cli.Context) error {
			h := deadletters.Heal{Limit: ctx.Int("limit"), Rate: ctx.Float64("rate"), Timeout: ctx.Duration("timeout")}
			var err error
			if h.Filter, err = readFilter(ctx, e); err != nil {
				return err
			}
			if err := chosen(ctx, h.Filter); err != nil {
				return err
			}
			if err := checkPace(ctx); err != nil {
				return err
			}
			if h.Timeout <= 0 {
				return fail.Usagef("", "--timeout: %s is not positive", h.Timeout)
			}
			in, _, err := e.Inbox(ctx.Context)
			if err != nil {
				return err
			}
			if err := in.CheckSchema(ctx.Context); err != nil {
				return fail.Wrap("cannot watch the inbox", err)
			}
			h.Applied = in.Applied
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			h.Audit = audit(ctx.Context, e, ctx.String("reason"))
			return heal(ctx.Context, e, queues[0], h)
		},
	}
}

var healColumns = []console.Column[deadletters.HealReport]{
	{Key: "queue", Value: func(r deadletters.HealReport) any { return r.Queue }, ID: true},
	{Key: "waves", Value: func(r deadletters.HealReport) any { return waveSizes(r) }},
	{Key: "sent", Value: func(r deadletters.HealReport) any { return r.Sent }},
	{Key: "applied", Value: func(r deadletters.HealReport) any { return r.Applied }},
	{Key: "alreadyApplied", Value: func(r deadletters.HealReport) any { return r.AlreadyApplied }},
	{Key: "relapsed", Value: func(r deadletters.HealReport) any { return r.Relapsed() }},
	{Key: "waiting", Value: func(r deadletters.HealReport) any { return r.Waiting }},
	{Key: "skipped", Value: func(r deadletters.HealReport) any { return r.Skipped }},
	{Key: "left", Value: func(r deadletters.HealReport) any { return r.Left }},
}

// waveSizes are how many letters each wave had.
func waveSizes(r deadletters.HealReport) any {
	sizes := make([]int, 0, len(r.Waves))
	for _, w := range r.Waves {
		sizes = append(sizes, w.Sent)
	}
	return sizes
}

func heal(ctx context.Context, e *env.Env, q deadletters.Queue, h deadletters.Heal) error {
	var line atomic.Pointer[string]
	tell := func(text string) { line.Store(&text) }
	tell("the first wave")
	var report deadletters.HealReport
	err := e.IO.Wait(ctx, func() string { return *line.Load() }, func(out io.Writer) (err error) {
		said := 0
		h.Progress = func(w deadletters.Wave) {
			tell(waveLine(w))
			if w.Applied == w.Sent && w.Number > said && !e.IO.ErrStructured() {
				said = w.Number
				fmt.Fprintf(out, "wave %d: %s of %s applied\n", w.Number, reconcile.Thousands(w.Applied), reconcile.Thousands(w.Sent))
			}
		}
		report, err = q.Heal(ctx, h)
		return err
	})
	notRecorded(e, report.AuditErr)
	if err != nil && report.Sent == 0 {
		return fail.Wrap("nothing was healed", err)
	}
	if err := console.RenderOne(e.IO, healColumns, report); err != nil {
		return err
	}
	switch {
	case err != nil:
		return err
	case report.Interrupted:
		return fail.New(fail.Interrupted, "what was sent is handled by itself", "interrupted; %s letters were sent, %s of them are applied",
			reconcile.Thousands(report.Sent), reconcile.Thousands(report.Applied))
	case report.Skipped > 0 && !e.IO.Structured():
		e.IO.Notef("%s letters were left: they have no id to watch, or are conflicts; requeue or discard them", reconcile.Thousands(report.Skipped))
	}
	return nil
}

// waveLine says how a wave stands.
func waveLine(w deadletters.Wave) string {
	parts := []string{fmt.Sprintf("wave %d: %s of %s applied", w.Number, reconcile.Thousands(w.Applied), reconcile.Thousands(w.Sent))}
	if w.Retrying > 0 {
		parts = append(parts, fmt.Sprintf("%s messages wait for a retry", reconcile.Thousands(w.Retrying)))
	}
	if w.Consumers == 0 {
		parts = append(parts, "nobody consumes the queue")
	}
	return strings.Join(parts, ", ")
}
