package top

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// line is what is printed of a board at a time.
type line struct {
	at time.Time
	*board
}

// columns are the contract of -o json and TSV. A value is nil while its part
// does not answer.
var columns = []console.Column[line]{
	{Key: "time", Value: func(l line) any { return l.at.Truncate(time.Millisecond) }},
	{Key: "enqueuedPerSecond", Value: func(l line) any { return l.rate(outboxPart, &l.enqueued) }},
	{Key: "publishedPerSecond", Value: func(l line) any { return l.rate(outboxPart, &l.published) }},
	{Key: "appliedPerSecond", Value: func(l line) any { return l.rate(inboxPart, &l.applied) }},
	outboxColumn("pending", func(o *outboxSight) any { return o.Stats.Pending.N }),
	outboxColumn("oldestPendingSeconds", func(o *outboxSight) any { return messages.Seconds(o.Stats.OldestPendingAge) }),
	{Key: "lagSeconds", Value: func(l line) any { median, _, known := l.lag(); return l.lagSeconds(median, known) }},
	{Key: "maxLagSeconds", Value: func(l line) any { _, worst, known := l.lag(); return l.lagSeconds(worst, known) }},
	outboxColumn("retrying", func(o *outboxSight) any { return o.Stats.Retrying.N }),
	outboxColumn("delayed", func(o *outboxSight) any { return o.Stats.Delayed.N }),
	outboxColumn("blocked", func(o *outboxSight) any { return o.Stats.Blocked.N }),
	outboxColumn("dead", func(o *outboxSight) any { return o.Stats.Dead.N }),
	outboxColumn("relays", func(o *outboxSight) any { n, _ := o.Serving(); return n }),
	outboxColumn("servedBuckets", func(o *outboxSight) any { _, n := o.Serving(); return n }),
	inboxColumn("instances", func(i *inboxSight) any { n, _ := i.Running(); return n }),
	inboxColumn("held", func(i *inboxSight) any { _, n := i.Running(); return n }),
	queuesColumn("ready", func(q *overview.Queues) any { return q.Depths.Ready }),
	queuesColumn("waitingForRetry", func(q *overview.Queues) any { return q.Depths.Retrying }),
	queuesColumn("deadLettered", func(q *overview.Queues) any { return q.Depths.DeadLettered }),
	queuesColumn("consumers", func(q *overview.Queues) any { return q.Depths.Consumers }),
	{Key: "outboxState", Value: func(l line) any { return l.conditions[outboxPart].state }},
	{Key: "inboxState", Value: func(l line) any { return l.conditions[inboxPart].state }},
	{Key: "brokerState", Value: func(l line) any { return l.conditions[brokerPart].state }},
	{Key: "reasons", Value: func(l line) any { return l.reasons() }},
}

func outboxColumn(key string, value func(*outboxSight) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.outbox == nil || l.down(outboxPart) {
			return nil
		}
		return value(l.outbox)
	}}
}

func inboxColumn(key string, value func(*inboxSight) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.inbox == nil || l.down(inboxPart) {
			return nil
		}
		return value(l.inbox)
	}}
}

func queuesColumn(key string, value func(*overview.Queues) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.queues == nil || l.down(brokerPart) {
			return nil
		}
		return value(l.queues)
	}}
}

func (l line) rate(p part, s *series) any {
	perSecond, known := s.rate()
	if !known || l.down(p) {
		return nil
	}
	return math.Round(perSecond*10) / 10
}

func (l line) lagSeconds(d time.Duration, known bool) any {
	if !known || l.down(outboxPart) {
		return nil
	}
	return messages.Seconds(d)
}

// reasons returns why parts are degraded or down, each with the name of its
// part.
func (l line) reasons() []string {
	texts := []string{}
	for p, c := range l.conditions {
		for _, reason := range c.reasons {
			text := part(p).String() + ": " + reason
			if c.state == stateDown {
				text = fmt.Sprintf("%s is down since %s: %s", part(p), c.since.UTC().Format(time.RFC3339), reason)
			}
			texts = append(texts, text)
		}
	}
	return texts
}

// runLines writes a line at an interval until ctx ends, the first once every part
// was looked at.
func runLines(ctx context.Context, e *env.Env, interval time.Duration) error {
	out, b := e.IO.Line(), newBoard()
	return collect(ctx, e, interval, func(s sight) error {
		b.observe(s)
		return raised(s)
	}, func() error {
		for _, c := range b.conditions {
			if c.state == stateWaiting {
				return nil
			}
		}
		return write(out, line{e.IO.Now(), b})
	})
}

func write(out *console.IO, l line) error {
	switch out.Resolved() {
	case console.JSON, console.JSONL:
		return console.RenderOne(out, columns, l)
	case console.Table, console.Wide:
		out.Para("", l.sentence())
		return nil
	}
	return console.RenderList(out, console.List[line]{Columns: columns, Items: []line{l}})
}

// sentence is a line for people, where the screen cannot be redrawn.
func (l line) sentence() string {
	words := []string{console.Clock(l.at)}
	say := func(p part, format string, args ...any) {
		if !l.down(p) {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	if l.outbox != nil {
		say(outboxPart, "enqueued %s, published %s, applied %s", perSecond(&l.enqueued), perSecond(&l.published), perSecond(&l.applied))
		say(outboxPart, "pending %s", l.pending())
		say(outboxPart, "dead %s", overview.Counted(l.outbox.Stats.Dead))
		relays, _ := l.outbox.Serving()
		say(outboxPart, "relays %d", relays)
	}
	if l.inbox != nil {
		instances, held := l.inbox.Running()
		say(inboxPart, "instances %d hold %d", instances, held)
	}
	if l.queues != nil {
		d := l.queues.Depths
		say(brokerPart, "ready %d, retry %d, dead letters %d", d.Ready, d.Retrying, d.DeadLettered)
	}
	for p, c := range l.conditions {
		switch c.state {
		case stateDown:
			words = append(words, fmt.Sprintf("%s DOWN since %s: %s", strings.ToUpper(part(p).String()), console.Clock(c.since), console.Visible(strings.Join(c.reasons, "; "))))
		case stateNotGiven:
			words = append(words, part(p).String()+" not given")
		}
	}
	return strings.Join(words, ", ")
}
