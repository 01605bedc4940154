package top

import (
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// lagWindow is how long a lag counts for the median.
const lagWindow = 30 * time.Second

// The states of a part, named as by status.
const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateDown     = "down"
	stateNotGiven = "not given"
	stateWaiting  = "connecting" // the first look is not complete
)

// board is what is known at present.
type board struct {
	conditions [parts]condition

	// The last looks that succeeded.
	outbox *outboxSight
	inbox  *inboxSight
	queues *overview.Queues

	enqueued, published, applied series
	backlog                      []float64
	lags                         []lag
}

// condition is the state of a part.
type condition struct {
	state   string
	reasons []string  // why it is degraded; for one that is down the error
	since   time.Time // it is down; of the first look that failed
	seen    time.Time // the last look that succeeded
}

type lag struct {
	at  time.Time
	lag time.Duration
}

func newBoard() *board {
	b := &board{}
	for p := range parts {
		b.conditions[p].state = stateWaiting
	}
	return b
}

// observe takes the result of a look into account.
func (b *board) observe(s sight) {
	c := &b.conditions[s.part]
	if s.err != nil {
		f := fail.From(s.err)
		if f.Kind == fail.Usage { // what nobody has configured is not down
			*c = condition{state: stateNotGiven, reasons: []string{f.Message}, seen: c.seen}
			return
		}
		if c.state != stateDown {
			c.since = s.at
		}
		c.state, c.reasons = stateDown, []string{f.Error()}
		return
	}
	span := s.at.Sub(c.seen)
	if c.seen.IsZero() {
		span = 0
	}
	var reasons []string
	switch s.part {
	case outboxPart:
		b.observeOutbox(s.outbox, s.at, span)
		reasons = s.outbox.Reasons()
	case inboxPart:
		b.observeInbox(s.inbox, span)
		reasons = s.inbox.Reasons()
	case brokerPart:
		b.queues, reasons = s.queues, s.queues.Reasons()
	}
	*c = condition{state: stateOK, reasons: reasons, seen: s.at}
	if len(reasons) > 0 {
		c.state = stateDegraded
	}
}

func (b *board) observeOutbox(now *outboxSight, at time.Time, span time.Duration) {
	if before := b.outbox; before != nil {
		added := now.added(before)
		b.enqueued.add(added, span)
		openBefore, exactBefore := before.open()
		if openNow, exact := now.open(); exact == exactBefore { // else the difference is that of two ways to count
			b.published.add(added-(openNow-openBefore), span)
		}
		for _, l := range now.lags(before) {
			b.lags = append(b.lags, lag{at, l})
		}
	}
	b.lags = slices.DeleteFunc(b.lags, func(l lag) bool { return at.Sub(l.at) > lagWindow })
	b.backlog = append(b.backlog, float64(now.Stats.Pending.N))
	b.backlog = b.backlog[max(0, len(b.backlog)-remembered):]
	b.outbox = now
}

func (b *board) observeInbox(now *inboxSight, span time.Duration) {
	if before := b.inbox; before != nil {
		if now.newest == nil {
			now.newest, now.whole = before.newest, before.whole
		}
		b.applied.add(now.added(before, span), span)
	}
	b.inbox = now
}

// lag returns the median and the maximum lag of the last messages that were
// published; false: none was.
func (b *board) lag() (median, worst time.Duration, known bool) {
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

// down reports whether what is known about a part is not of now.
func (b *board) down(p part) bool {
	s := b.conditions[p].state
	return s != stateOK && s != stateDegraded
}
