package top

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// line is what is printed of a board at a time.
type line struct {
	at time.Time
	*live.Board
}

// columns are the contract of -o json and TSV. A value is nil while its part
// does not answer.
var columns = []console.Column[line]{
	{Key: "time", Value: func(l line) any { return l.at.Truncate(time.Millisecond) }},
	{Key: "enqueuedPerSecond", Value: func(l line) any { return l.rate(live.OutboxPart, &l.Enqueued) }},
	{Key: "publishedPerSecond", Value: func(l line) any { return l.rate(live.OutboxPart, &l.Published) }},
	{Key: "appliedPerSecond", Value: func(l line) any { return l.rate(live.InboxPart, &l.Applied) }},
	outboxColumn("pending", func(o *live.OutboxSight) any { return o.Stats.Pending.N }),
	outboxColumn("oldestPendingSeconds", func(o *live.OutboxSight) any { return messages.Seconds(o.Stats.OldestPendingAge) }),
	{Key: "lagSeconds", Value: func(l line) any { median, _, known := l.Lag(); return l.lagSeconds(median, known) }},
	{Key: "maxLagSeconds", Value: func(l line) any { _, worst, known := l.Lag(); return l.lagSeconds(worst, known) }},
	outboxColumn("retrying", func(o *live.OutboxSight) any { return o.Stats.Retrying.N }),
	outboxColumn("delayed", func(o *live.OutboxSight) any { return o.Stats.Delayed.N }),
	outboxColumn("blocked", func(o *live.OutboxSight) any { return o.Stats.Blocked.N }),
	outboxColumn("dead", func(o *live.OutboxSight) any { return o.Stats.Dead.N }),
	outboxColumn("relays", func(o *live.OutboxSight) any { n, _ := o.Serving(); return n }),
	outboxColumn("servedBuckets", func(o *live.OutboxSight) any { _, n := o.Serving(); return n }),
	inboxColumn("instances", func(i *live.InboxSight) any { n, _ := i.Running(); return n }),
	inboxColumn("held", func(i *live.InboxSight) any { _, n := i.Running(); return n }),
	queuesColumn("ready", func(q *overview.Queues) any { return q.Depths.Ready }),
	queuesColumn("waitingForRetry", func(q *overview.Queues) any { return q.Depths.Retrying }),
	queuesColumn("deadLettered", func(q *overview.Queues) any { return q.Depths.DeadLettered }),
	queuesColumn("consumers", func(q *overview.Queues) any { return q.Depths.Consumers }),
	{Key: "outboxState", Value: func(l line) any { return l.Conditions[live.OutboxPart].State }},
	{Key: "inboxState", Value: func(l line) any { return l.Conditions[live.InboxPart].State }},
	{Key: "brokerState", Value: func(l line) any { return l.Conditions[live.BrokerPart].State }},
	{Key: "reasons", Value: func(l line) any { return l.reasons() }},
}

func outboxColumn(key string, value func(*live.OutboxSight) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.Outbox == nil || l.Away(live.OutboxPart) {
			return nil
		}
		return value(l.Outbox)
	}}
}

func inboxColumn(key string, value func(*live.InboxSight) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.Inbox == nil || l.Away(live.InboxPart) {
			return nil
		}
		return value(l.Inbox)
	}}
}

func queuesColumn(key string, value func(*overview.Queues) any) console.Column[line] {
	return console.Column[line]{Key: key, Value: func(l line) any {
		if l.Queues == nil || l.Away(live.BrokerPart) {
			return nil
		}
		return value(l.Queues)
	}}
}

func (l line) rate(p live.Part, s *live.Series) any {
	perSecond, known := s.Rate()
	if !known || l.Away(p) {
		return nil
	}
	return math.Round(perSecond*10) / 10
}

func (l line) lagSeconds(d time.Duration, known bool) any {
	if !known || l.Away(live.OutboxPart) {
		return nil
	}
	return messages.Seconds(d)
}

// reasons returns why parts are degraded or down, each with the name of its
// part.
func (l line) reasons() []string {
	texts := []string{}
	for p, c := range l.Conditions {
		for _, reason := range c.Reasons {
			text := live.Part(p).String() + ": " + reason
			if c.State == live.Down {
				text = fmt.Sprintf("%s is down since %s: %s", live.Part(p), c.Since.UTC().Format(time.RFC3339), reason)
			}
			texts = append(texts, text)
		}
	}
	return texts
}

// runLines writes a line at an interval until ctx ends, the first once every part
// was looked at.
func runLines(ctx context.Context, e *env.Env, interval time.Duration) error {
	out, b := e.IO.Line(), live.NewBoard()
	return collect(ctx, e, interval, func(s live.Sight) error {
		b.Observe(s)
		return raised(s)
	}, func() error {
		for _, c := range b.Conditions {
			if c.State == live.Connecting {
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
	say := func(p live.Part, format string, args ...any) {
		if !l.Away(p) {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	if l.Outbox != nil {
		say(live.OutboxPart, "enqueued %s, published %s, applied %s", l.Enqueued.String(), l.Published.String(), l.Applied.String())
		say(live.OutboxPart, "pending %s", pending(l.Board))
		say(live.OutboxPart, "dead %s", overview.Counted(l.Outbox.Stats.Dead))
		relays, _ := l.Outbox.Serving()
		say(live.OutboxPart, "relays %d", relays)
	}
	if l.Inbox != nil {
		instances, held := l.Inbox.Running()
		say(live.InboxPart, "instances %d hold %d", instances, held)
	}
	if l.Queues != nil {
		d := l.Queues.Depths
		say(live.BrokerPart, "ready %d, retry %d, dead letters %d", d.Ready, d.Retrying, d.DeadLettered)
	}
	for p, c := range l.Conditions {
		switch c.State {
		case live.Down:
			words = append(words, fmt.Sprintf("%s DOWN since %s: %s", strings.ToUpper(live.Part(p).String()), console.Clock(c.Since), console.Visible(strings.Join(c.Reasons, "; "))))
		case live.NotGiven:
			words = append(words, live.Part(p).String()+" not given")
		}
	}
	return strings.Join(words, ", ")
}
