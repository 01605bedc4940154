package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

func (m *model) View() tea.View {
	content := ""
	if !m.quitting {
		content = strings.Join(m.screen(), "\n")
	}
	v := tea.NewView(content)
	v.AltScreen = true
	return v
}

// room returns how many lines of the body are shown at a time.
func (m *model) room() int { return max(1, m.height-2) } // one for the title, one for the keys

// screen returns the lines that fill the terminal.
func (m *model) screen() []string {
	body := m.body()
	offset := max(0, min(m.offset, len(body)-m.room()))
	shown := body[offset:min(len(body), offset+m.room())]
	lines := append([]string{m.title()}, shown...)
	for len(lines) < m.room()+1 {
		lines = append(lines, "")
	}
	lines = append(lines, m.keys(len(body)-offset-len(shown)))
	for i := range lines {
		lines[i] = console.Cut(lines[i], m.width)
	}
	return lines
}

func (m *model) title() string {
	title := m.io.Paint(console.Strong, "pulsectl top") + "  " + console.Clock(m.now) + ", every " + clip.Duration(m.interval)
	if !m.paused.IsZero() {
		title += "  " + m.io.Paint(console.Warn, fmt.Sprintf("PAUSED at %s, p goes on", console.Clock(m.paused)))
	}
	if m.filter != "" && !m.typing {
		title += fmt.Sprintf("  filter: %s", m.filter)
	}
	return title
}

// keys is the last line: the keys, and how many lines are hidden below.
func (m *model) keys(below int) string {
	if m.typing {
		return "filter: " + m.filter + "_  " + m.io.Paint(console.Dim, "Enter keeps it, Esc does not")
	}
	help := "q quit   p pause   / filter   arrows scroll"
	if below > 0 {
		help += fmt.Sprintf("   (%d more below)", below)
	}
	return m.io.Paint(console.Dim, help)
}

// body returns everything between title and keys.
func (m *model) body() []string {
	b := m.shown
	lines := append(m.rates(), "")
	lines = append(lines, m.io.Render(m.width, func(c *console.IO) {
		_ = console.RenderList(c, console.List[state]{Columns: stateColumns, Items: m.states()})
	})...)
	if b.Outbox != nil {
		lines = append(lines, "")
		lines = append(lines, table(m, "no relay", relayColumns, b.Outbox.Relays, func(r outbox.RelayStatus) []string { return []string{r.Owner, r.Host} })...)
	}
	if b.Inbox != nil {
		lines = append(lines, "")
		lines = append(lines, table(m, "no consumer", instanceColumns, b.Inbox.Instances, func(i inbox.InstanceStatus) []string { return []string{i.Name, i.Queue} })...)
	}
	if b.Queues != nil {
		lines = append(lines, "")
		lines = append(lines, table(m, "no queue", queueColumns, queueRows(*b.Queues), nil)...)
	}
	return lines
}

// rates returns the lines with sparklines.
func (m *model) rates() []string {
	const label, number = 11, 11
	b := m.shown
	row := func(p live.Part, name, value string, values []float64, note string) string {
		tone := console.Strong
		if b.Away(p) {
			value, tone = "-", console.Dim
		}
		text := console.Pad(name, label) + strings.Repeat(" ", max(0, number-len([]rune(value)))) + m.io.Paint(tone, value) + "  "
		if note != "" {
			return text + note
		}
		return text + console.Sparkline(values, min(live.Remembered, m.width-label-number-2))
	}
	pending, oldest, lags := "-", "-", "-"
	if b.Outbox != nil {
		pending = overview.Counted(b.Outbox.Stats.Pending)
		if oldest = "none"; !b.Outbox.Stats.OldestPending.IsZero() {
			oldest = console.Age(b.Outbox.Stats.OldestPendingAge)
		}
	}
	if median, worst, known := b.Lag(); known {
		lags = short(median) + " median, " + short(worst) + " max (" + clip.Duration(live.LagWindow) + ")"
	}
	return []string{
		row(live.OutboxPart, "enqueued", b.Enqueued.String(), b.Enqueued.Rates(), ""),
		row(live.OutboxPart, "published", b.Published.String(), b.Published.Rates(), ""),
		row(live.InboxPart, "applied", b.Applied.String(), b.Applied.Rates(), ""),
		row(live.OutboxPart, "pending", pending, b.Backlog, ""),
		row(live.OutboxPart, "oldest", oldest, nil, "lag "+lags),
	}
}

// short formats a lag with two or three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// pending is the backlog for people.
func pending(b *live.Board) string {
	s := b.Outbox.Stats
	if s.OldestPending.IsZero() {
		return overview.Counted(s.Pending)
	}
	return overview.Counted(s.Pending) + " for up to " + console.Age(s.OldestPendingAge)
}

// state is a line of the table of parts.
type state struct{ name, state, detail string }

var stateColumns = []console.Column[state]{
	{Key: "part", Value: func(s state) any { return s.name }, ID: true},
	{Key: "state", Value: func(s state) any { return s.state }, Keep: 2, Tone: func(s state) console.Tone {
		switch s.state {
		case live.OK:
			return console.Good
		case live.Degraded:
			return console.Warn
		case strings.ToUpper(live.Down):
			return console.Bad
		}
		return console.Dim
	}},
	{Key: "detail", Value: func(s state) any { return s.detail }, Keep: 1, Wrap: true},
}

func (m *model) states() (states []state) {
	b := m.shown
	for p, c := range b.Conditions {
		s := state{name: live.Part(p).String(), state: c.State, detail: strings.Join(c.Reasons, "; ")}
		switch {
		case c.State == live.Down:
			s.state = strings.ToUpper(live.Down)
			s.detail = fmt.Sprintf("since %s (%s): %s", console.Clock(c.Since), console.Age(m.now.Sub(c.Since)), s.detail)
			if !c.Seen.IsZero() {
				s.detail += "; what is below is of " + console.Clock(c.Seen)
			}
		case c.State == live.NotGiven, c.State == live.Connecting:
		default:
			s.detail = strings.Join(append(c.Reasons[:len(c.Reasons):len(c.Reasons)], b.Detail(live.Part(p))), "; ")
		}
		states = append(states, s)
	}
	return states
}

// table returns the rows that contain the filter in one of their texts, or a line
// that there is none.
func table[T any](m *model, none string, columns []console.Column[T], rows []T, texts func(T) []string) []string {
	var kept []T
	for _, row := range rows {
		if texts == nil || m.filter == "" || strings.Contains(strings.ToLower(strings.Join(texts(row), " ")), strings.ToLower(m.filter)) {
			kept = append(kept, row)
		}
	}
	if len(kept) == 0 {
		if len(rows) > 0 {
			none += fmt.Sprintf(" with %q (%d without)", m.filter, len(rows))
		}
		return []string{m.io.Paint(console.Dim, none)}
	}
	return m.io.Render(m.width, func(c *console.IO) {
		now := m.now
		c.Now = func() time.Time { return now }
		_ = console.RenderList(c, console.List[T]{Columns: columns, Items: kept})
	})
}

var relayColumns = []console.Column[outbox.RelayStatus]{
	{Key: "relay", Value: func(r outbox.RelayStatus) any { return r.Owner }, Keep: 4, Min: 20},
	{Key: "state", Value: func(r outbox.RelayStatus) any { return liveOr(r.Live, "standby or gone") }, Tone: func(r outbox.RelayStatus) console.Tone { return liveTone(r.Live) }, Keep: 3},
	{Key: "buckets", Value: func(r outbox.RelayStatus) any { return fmt.Sprintf("%d of %d", len(r.Buckets), overview.Buckets) }, Keep: 3},
	{Key: "started", Value: func(r outbox.RelayStatus) any { return r.StartedAt }, Keep: 2},
	{Key: "host", Value: func(r outbox.RelayStatus) any { return r.Host }, Keep: 1},
}

var instanceColumns = []console.Column[inbox.InstanceStatus]{
	{Key: "consumer", Value: func(i inbox.InstanceStatus) any { return i.Name }, Keep: 4, Min: 20},
	{Key: "state", Value: func(i inbox.InstanceStatus) any {
		if i.Live && !i.Subscribed {
			return "not subscribed"
		}
		return liveOr(i.Live, "gone")
	}, Tone: func(i inbox.InstanceStatus) console.Tone { return liveTone(i.Live && i.Subscribed) }, Keep: 3},
	{Key: "held", Value: func(i inbox.InstanceStatus) any { return i.Held }, Keep: 3},
	{Key: "oldest", Value: func(i inbox.InstanceStatus) any { return i.OldestHeld }, Keep: 3},
	{Key: "started", Value: func(i inbox.InstanceStatus) any { return i.StartedAt }, Keep: 2},
	{Key: "queue", Value: func(i inbox.InstanceStatus) any { return i.Queue }, Keep: 1},
}

func liveOr(is bool, otherwise string) string {
	if is {
		return "live"
	}
	return otherwise
}

func liveTone(is bool) console.Tone {
	if is {
		return console.Good
	}
	return console.Warn
}

// queueRow is a queue, or the retry queues together.
type queueRow struct {
	name      string
	messages  int
	consumers any
	purpose   string
}

var queueColumns = []console.Column[queueRow]{
	{Key: "queue", Value: func(q queueRow) any { return q.name }, Keep: 4, Min: 20},
	{Key: "messages", Value: func(q queueRow) any { return q.messages }, Keep: 3, Tone: func(q queueRow) console.Tone {
		if q.messages > 0 {
			return console.Strong
		}
		return console.Plain
	}},
	{Key: "consumers", Value: func(q queueRow) any { return q.consumers }, Keep: 2},
	{Key: "purpose", Value: func(q queueRow) any { return q.purpose }, Keep: 1, Min: 12},
}

func queueRows(q overview.Queues) []queueRow {
	rows := []queueRow{{q.Names.Queue, q.Depths.Ready, q.Depths.Consumers, "ready to be consumed"}}
	if len(q.Names.Retry) > 0 {
		var delays []string
		for _, r := range q.Names.Retry {
			delays = append(delays, clip.Duration(r.Delay))
		}
		rows = append(rows, queueRow{q.Names.Queue + ".retry.*", q.Depths.Retrying, nil, "wait for a retry: " + strings.Join(delays, ", ")})
	}
	return append(rows, queueRow{q.Names.DeadLetters, q.Depths.DeadLettered, nil, "dead letters"})
}
