// Package live follows an outbox, an inbox and the queues between them: rates,
// backlog, lag, what is down and since when. It is what top and the web page have
// in common.
//
// Goroutines of Follow look at the parts, each with a deadline; what they see goes
// into a Board, which is drawn elsewhere.
package live

import (
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// LagWindow is how long a lag counts for the median.
const LagWindow = 30 * time.Second

// The states of a part, named as by status.
const (
	OK         = "ok"
	Degraded   = "degraded"
	Down       = "down"
	NotGiven   = "not given"
	Connecting = "connecting" // the first look is not complete
)

// Board is what is known at present. It is not safe for concurrent use.
type Board struct {
	Conditions [Parts]Condition

	// The last looks that succeeded; nil: none has.
	Outbox *OutboxSight
	Inbox  *InboxSight
	Queues *overview.Queues

	Enqueued, Published, Applied Series
	Backlog                      []float64 // pending messages in each look, the newest last
	Lags                         []float64 // the median lag in seconds at each look, the newest last
	lags                         []lag
}

// Condition is the state of a part.
type Condition struct {
	State   string
	Reasons []string  // why it is degraded; for one that is down the error
	Since   time.Time // it is down or degraded; of the first look that found it so
	Seen    time.Time // the last look that succeeded
}

type lag struct {
	at  time.Time
	lag time.Duration
}

// NewBoard returns a board on which nothing is known.
func NewBoard() *Board {
	b := &Board{}
	for p := range Parts {
		b.Conditions[p].State = Connecting
	}
	return b
}

// Clone returns a copy that later calls of Observe do not change.
func (b *Board) Clone() *Board {
	frozen := *b
	frozen.lags = slices.Clone(b.lags) // old ones are deleted in place; everything else is only appended to
	return &frozen
}

// Observe takes the result of a look into account.
func (b *Board) Observe(s Sight) {
	c := &b.Conditions[s.Part]
	if s.Err != nil {
		f := fail.From(s.Err)
		if f.Kind == fail.Usage { // what nobody has configured is not down
			*c = Condition{State: NotGiven, Reasons: []string{f.Message}, Seen: c.Seen}
			return
		}
		if c.State != Down {
			c.Since = s.At
		}
		c.State, c.Reasons = Down, []string{f.Error()}
		return
	}
	span := s.At.Sub(c.Seen)
	if c.Seen.IsZero() {
		span = 0
	}
	var reasons []string
	switch s.Part {
	case OutboxPart:
		b.observeOutbox(s.Outbox, s.At, span)
		reasons = s.Outbox.Reasons()
	case InboxPart:
		b.observeInbox(s.Inbox, span)
		reasons = s.Inbox.Reasons()
	case BrokerPart:
		b.Queues, reasons = s.Queues, s.Queues.Reasons()
	}
	before := *c
	*c = Condition{State: OK, Reasons: reasons, Seen: s.At}
	if len(reasons) > 0 {
		if c.State, c.Since = Degraded, s.At; before.State == Degraded {
			c.Since = before.Since
		}
	}
}

func (b *Board) observeOutbox(now *OutboxSight, at time.Time, span time.Duration) {
	if before := b.Outbox; before != nil {
		added := now.added(before)
		b.Enqueued.add(added, span)
		openBefore, exactBefore := before.open()
		if openNow, exact := now.open(); exact == exactBefore { // else the difference is that of two ways to count
			b.Published.add(added-(openNow-openBefore), span)
		}
		for _, l := range now.lags(before) {
			b.lags = append(b.lags, lag{at, l})
		}
	}
	b.lags = slices.DeleteFunc(b.lags, func(l lag) bool { return at.Sub(l.at) > LagWindow })
	median, _, _ := b.Lag()
	b.Lags = remember(b.Lags, median.Seconds())
	b.Backlog = remember(b.Backlog, float64(now.Stats.Pending.N))
	b.Outbox = now
}

func remember(values []float64, next float64) []float64 {
	values = append(values, next)
	return values[max(0, len(values)-Remembered):]
}

func (b *Board) observeInbox(now *InboxSight, span time.Duration) {
	if before := b.Inbox; before != nil {
		if now.Newest == nil {
			now.Newest, now.Whole = before.Newest, before.Whole
		}
		b.Applied.add(now.added(before, span), span)
	}
	b.Inbox = now
}

// Lag returns the median and the maximum lag, from enqueueing to the broker's
// confirm, of the messages published within LagWindow; false: none was.
func (b *Board) Lag() (median, worst time.Duration, known bool) {
	if len(b.lags) == 0 {
		return 0, 0, false
	}
	sorted := make([]time.Duration, len(b.lags))
	for i, l := range b.lags {
		sorted[i] = l.lag
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2], sorted[len(sorted)-1], true
}

// Away reports whether what is known about a part is not of now.
func (b *Board) Away(p Part) bool {
	s := b.Conditions[p].State
	return s != OK && s != Degraded
}

// Detail describes in a line what the last look at a part has found; "": nothing.
func (b *Board) Detail(p Part) string {
	switch {
	case p == OutboxPart && b.Outbox != nil:
		return b.Outbox.Detail()
	case p == InboxPart && b.Inbox != nil:
		return b.Inbox.Detail()
	case p == BrokerPart && b.Queues != nil:
		return b.Queues.Detail()
	}
	return ""
}
