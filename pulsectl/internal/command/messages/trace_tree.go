package messages

import (
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/journey"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// renderJourney writes a journey: to people as a tree, to programs as objects or
// a line for each message.
func renderJourney(out *console.IO, j *journey.Journey) error {
	switch out.Resolved() {
	case console.JSON:
		return console.RenderOne(out, journeyColumns, j)
	case console.Table, console.Wide:
		t := tree{IO: out, j: j}
		for i := range j.Messages {
			t.message(&j.Messages[i])
		}
	default:
		if err := console.RenderList(out, console.List[journey.Message]{Columns: tracedColumns, Items: j.Messages}); err != nil {
			return err
		}
	}
	if j.More {
		out.Notef("there are more messages: --limit %d", 2*len(j.Messages))
	}
	for _, text := range j.Unseen {
		out.Notef("not looked at: %s", text)
	}
	for _, text := range j.Notes {
		out.Notef("%s", text)
	}
	return nil
}

// tree writes messages for people, each below what has caused it.
type tree struct {
	*console.IO
	j *journey.Journey
}

func (t tree) message(m *journey.Message) {
	indent := strings.Repeat("  ", m.Depth)
	head := indent
	if m.Depth > 0 {
		head = strings.Repeat("  ", m.Depth-1) + "└ "
	}
	name := m.ID
	if m.Topic != "" {
		name = m.Topic + " " + m.ID
	}
	if m.Asked {
		name = t.Paint(console.Strong, name)
	}
	t.Println(head + name + "  " + t.Paint(traceTone(m.Verdict), strings.ToUpper(string(m.Verdict.State))))
	line := func(label, text string) {
		if text != "" {
			t.Para(indent+"  "+t.Paint(console.Dim, fmt.Sprintf("%-7s", label))+"  ", text)
		}
	}
	line("key", m.Key)
	line("action", m.CorrelationID)
	line("outbox", t.row(m.Outbox))
	line("broker", t.copies(m))
	line("inbox", t.inbox(m))
	line("why", m.Verdict.Why)
	if m.Verdict.Command != "" {
		label := "see"
		if m.Verdict.Stuck {
			label = "to free"
		}
		t.Println(indent + "  " + t.Paint(console.Dim, fmt.Sprintf("%-7s", label)) + "  " + m.Verdict.Command) // not wrapped, to be copied
	}
}

func traceTone(v journey.Verdict) console.Tone {
	switch {
	case v.Stuck:
		return console.Bad
	case v.State == journey.Applied:
		return console.Good
	case v.State == journey.Retry, v.State == journey.Unknown:
		return console.Warn
	}
	return console.Plain
}

// row describes a row of the outbox: each state with its time.
func (t tree) row(r *journey.Row) string {
	if r == nil {
		return "no row"
	}
	parts := []string{"enqueued " + t.When(r.CreatedAt)}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	attempts := ""
	if r.Attempts > 0 {
		attempts = " after " + overview.Many(r.Attempts, "failed attempt")
	}
	switch r.Status {
	case outbox.Published:
		add("published %s%s", t.When(r.PublishedAt), attempts)
	case outbox.Discarded:
		add("discarded %s", t.When(r.DiscardedAt))
	case outbox.Dead:
		add("dead%s", attempts)
	case outbox.Pending:
		add("pending%s", attempts)
		if r.AvailableAt.After(t.Now()) {
			add("due %s", t.When(r.AvailableAt))
		}
		switch {
		case r.Ahead != nil:
			add("behind %s", r.Ahead.ID)
		case r.Relay != "":
			add("bucket %d of relay %s", r.Bucket, r.Relay)
		default:
			add("bucket %d of no relay", r.Bucket)
		}
	}
	if r.Next {
		add("in the outbox of the consuming service")
	}
	return strings.Join(parts, "; ")
}

func (t tree) copies(m *journey.Message) string {
	var parts []string
	for _, c := range m.Copies {
		text := fmt.Sprintf("in %s, number %d", c.Queue, c.Position)
		switch {
		case c.Place == journey.InRetry && c.DueAt.IsZero():
			text += ", waits for its next attempt"
		case c.Place == journey.InRetry:
			text += ", next attempt " + t.When(c.DueAt)
		}
		if c.Attempts > 0 {
			text += fmt.Sprintf(", failed %s times, the last time %s", reconcile.Thousands(c.Attempts), t.When(c.FailedAt))
		}
		parts = append(parts, text)
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case len(t.j.Queues) == 0:
		return ""
	case m.Outbox != nil && m.Outbox.Status != outbox.Published:
		return "not published"
	}
	looked, left := 0, []string{}
	for _, q := range t.j.Queues {
		if looked++; q.NotLooked != "" {
			looked--
			left = append(left, fmt.Sprintf("%s, which holds %s: %s", q.Name, overview.Many(q.Ready, "message"), q.NotLooked))
		}
	}
	text := "in none of " + overview.Many(looked, "queue")
	if len(left) > 0 {
		text += "; not looked into " + strings.Join(left, "; ")
	}
	return text
}

func (t tree) inbox(m *journey.Message) string {
	var parts []string
	for _, a := range m.Inbox {
		if !a.AppliedAt.IsZero() {
			text := fmt.Sprintf("applied by %s %s", a.Consumer, t.When(a.AppliedAt))
			if r := m.Outbox; r != nil && a.AppliedAt.After(r.CreatedAt) {
				text += fmt.Sprintf(", %v after it was enqueued", round(a.AppliedAt.Sub(r.CreatedAt)))
			}
			parts = append(parts, text)
		}
		if a.Started > 0 {
			parts = append(parts, fmt.Sprintf("started by %s %s times without an end, the last time %s", a.Consumer, reconcile.Thousands(a.Started), t.When(a.StartedAt)))
		}
	}
	if len(parts) == 0 && t.j.Consumer != "" {
		return "not applied by " + t.j.Consumer
	}
	return strings.Join(parts, "; ")
}

// round shortens a duration to what is worth reading.
func round(d time.Duration) time.Duration {
	if d > time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
