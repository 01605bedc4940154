package page

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// picture is what the overview shows: the way of a message, what is wrong, and how
// it has been.
type picture struct {
	Stations []station
	Links    []link // Links[i] leads to Stations[i+1]
	Troubles []trouble
	Faults   []Fault
	Charts   []chart
	Complete bool // every part was looked at
}

// station is a box of the picture.
type station struct {
	Name, State  string
	Figure, Unit string
	Lines        []string
	Path         string // its screen; empty: none
	AsOf         time.Time
}

// Tone is the class of a state.
func (s station) Tone() string { return tone(s.State) }

func tone(state string) string {
	switch state {
	case live.OK:
		return "good"
	case live.Degraded:
		return "warn"
	case live.Down:
		return "bad"
	}
	return "dim"
}

// link is an arrow of the picture.
type link struct {
	Verb, Rate string
	Moving     bool
	Broken     string // why nothing passes; empty: it can
}

// Link returns the arrow that leads to the station with that index.
func (p picture) Link(i int) link { return p.Links[i-1] }

// trouble is what is wrong with a part.
type trouble struct {
	Part, State string
	Since       time.Time
	Reasons     []string
	Path        string
}

// Tone is the class of its state.
func (t trouble) Tone() string { return tone(t.State) }

type overviewData struct {
	picture
	Acts []Act // what can be done to the stack
}

func (h *Handler) overview(r *http.Request) (view, error) {
	v := view{template: "overview", title: "Overview"}
	if err := h.parameters(r).check(); err != nil {
		return v, err
	}
	// A part that does not answer is shown as such; the others count.
	board, faults := h.feed.now(context.WithoutCancel(r.Context()))
	data := overviewData{picture: h.picture(board, faults)}
	if h.cfg.Stack != nil {
		data.Acts = h.cfg.Stack.Acts()
	}
	v.data = data
	return v, nil
}

// paths of the screens of parts.
var partPaths = [live.Parts]string{"/outbox", "/inbox", "/workers"}

func (h *Handler) picture(b *live.Board, faults []Fault) picture {
	p := picture{Faults: faults, Complete: known(b)}
	source := "Service"
	if h.cfg.Stack != nil {
		source = "Orders"
	}
	p.Stations = []station{
		{Name: source, Figure: overview.Bounded(int64(b.Enqueued.Total()), true), Unit: "enqueued in two minutes", Lines: []string{"each in the transaction of its change"}},
		outboxStation(b), brokerStation(b), inboxStation(b),
	}
	enqueued, published, applied := arrow("enqueued", &b.Enqueued), arrow("published", &b.Published), arrow("applied", &b.Applied)
	outboxDown, brokerDown := b.Conditions[live.OutboxPart].State == live.Down, b.Conditions[live.BrokerPart].State == live.Down
	relays := 0
	if b.Outbox != nil {
		relays, _ = b.Outbox.Serving()
	}
	switch {
	case outboxDown:
		enqueued.Broken, published.Broken = "the outbox does not answer", "the outbox does not answer"
	case brokerDown:
		published.Broken = "the broker does not answer"
	case b.Outbox != nil && relays == 0:
		published.Broken = "no relay is ready"
	}
	switch {
	case brokerDown:
		applied.Broken = "the broker does not answer"
	case b.Conditions[live.InboxPart].State == live.Down:
		applied.Broken = "the inbox does not answer"
	case b.Queues != nil && b.Queues.Depths.Consumers == 0:
		applied.Broken = "no consumer"
	}
	p.Links = []link{enqueued, published, applied}
	for part, c := range b.Conditions {
		if c.State == live.Down || c.State == live.Degraded {
			path := partPaths[part]
			if live.Part(part) == live.BrokerPart && c.State == live.Degraded && b.Queues.Depths.DeadLettered > 0 {
				path = "/deadletters"
			}
			p.Troubles = append(p.Troubles, trouble{live.Part(part).String(), c.State, c.Since, c.Reasons, path})
		}
	}
	p.Charts = charts(b)
	return p
}

func arrow(verb string, s *live.Series) link {
	perSecond, _ := s.Rate()
	return link{Verb: verb, Rate: rate(s), Moving: perSecond > 0}
}

func rate(s *live.Series) string { return strings.Replace(s.String(), "-", "–", 1) }

// stationOf returns a station with what is known about the part's state.
func stationOf(b *live.Board, part live.Part, name string) station {
	c := b.Conditions[part]
	s := station{Name: name, State: c.State, Figure: "–", Path: partPaths[part]}
	if c.State == live.Down {
		s.AsOf = c.Seen
	}
	return s
}

func outboxStation(b *live.Board) station {
	s := stationOf(b, live.OutboxPart, "Outbox")
	s.Unit = "pending"
	if b.Outbox == nil {
		return s
	}
	stats := b.Outbox.Stats
	s.Figure = overview.Counted(stats.Pending)
	if !stats.OldestPending.IsZero() {
		s.Lines = append(s.Lines, "the oldest waits for "+age(stats.OldestPendingAge))
	}
	for _, n := range []struct {
		count any
		text  string
	}{
		{stats.Retrying.N, overview.Counted(stats.Retrying) + " retrying"}, {stats.Blocked.N, overview.Counted(stats.Blocked) + " blocked"},
		{stats.Delayed.N, overview.Counted(stats.Delayed) + " delayed"}, {stats.Dead.N, overview.Counted(stats.Dead) + " dead"},
	} {
		if n.count != int64(0) {
			s.Lines = append(s.Lines, n.text)
		}
	}
	s.Lines = append(s.Lines, overview.Counted(stats.Published)+" published")
	relays, served := b.Outbox.Serving()
	text := overview.Many(relays, "relay")
	if served < overview.Buckets && relays > 0 {
		text += fmt.Sprintf(" for %d of %d buckets", served, overview.Buckets)
	}
	s.Lines = append(s.Lines, text)
	return s
}

func brokerStation(b *live.Board) station {
	s := stationOf(b, live.BrokerPart, "Broker")
	s.Unit = "ready"
	if b.Queues == nil {
		return s
	}
	d := b.Queues.Depths
	s.Unit = "ready in " + b.Queues.Names.Queue
	s.Figure = overview.Bounded(int64(d.Ready), true)
	if d.Retrying > 0 {
		s.Lines = append(s.Lines, overview.Bounded(int64(d.Retrying), true)+" wait for a retry")
	}
	if d.DeadLettered > 0 {
		s.Path = "/deadletters"
	}
	s.Lines = append(s.Lines, overview.Many(d.DeadLettered, "dead letter"), overview.Many(d.Consumers, "consumer"))
	return s
}

func inboxStation(b *live.Board) station {
	s := stationOf(b, live.InboxPart, "Inbox")
	s.Unit = "applied"
	if b.Inbox == nil {
		return s
	}
	running, held := b.Inbox.Running()
	s.Figure = overview.Bounded(b.Inbox.Stats.Applied.N, b.Inbox.Stats.Applied.Exact)
	s.Lines = append(s.Lines, overview.Many(running, "instance"))
	if held > 0 {
		s.Lines = append(s.Lines, "holding "+overview.Many(held, "message"))
	}
	return s
}

// chart is a sparkline.
type chart struct {
	Name, Value, About string
	Points             string // of a polyline, in a box of chartWidth by chartHeight
	Area               string // the same, closed below
}

const chartWidth, chartHeight = 120, 30

func charts(b *live.Board) []chart {
	lag, note := "–", "from enqueueing to the broker's confirm"
	if median, worst, known := b.Lag(); known {
		lag, note = short(median), "median; at most "+short(worst)+" in "+live.LagWindow.String()
	}
	pending := "–"
	if b.Outbox != nil {
		pending = overview.Counted(b.Outbox.Stats.Pending)
	}
	return []chart{
		newChart("Enqueued", rate(&b.Enqueued), "messages a second", b.Enqueued.Rates()),
		newChart("Published", rate(&b.Published), "messages a second", b.Published.Rates()),
		newChart("Applied", rate(&b.Applied), "messages a second", b.Applied.Rates()),
		newChart("Pending", pending, "messages", b.Backlog),
		newChart("Lag", lag, note, b.Lags),
	}
}

func newChart(name, value, about string, values []float64) chart {
	c := chart{Name: name, Value: value, About: about}
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	highest = cmp.Or(highest, 1)
	var points []string
	for i, v := range values {
		x := chartWidth - (len(values)-1-i)*chartWidth/(live.Remembered-1)
		points = append(points, fmt.Sprintf("%d,%.1f", x, chartHeight-1-v/highest*(chartHeight-3)))
	}
	if len(points) > 1 {
		c.Points = strings.Join(points, " ")
		first := chartWidth - (len(values)-1)*chartWidth/(live.Remembered-1)
		c.Area = fmt.Sprintf("%d,%d %s %d,%d", first, chartHeight, c.Points, chartWidth, chartHeight)
	}
	return c
}
