package cursor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Snapshot is what one statement saw: which transactions had ended, and the
// highest seq that was there. Transactions are numbered when they first write.
type Snapshot struct {
	Top     int64    // the highest seq
	xmin    uint64   // all below have ended
	xmax    uint64   // none from here on has ended
	next    uint64   // none from here on had begun to write
	running []uint64 // those between xmin and xmax that had not ended
}

// ParseSnapshot reads PostgreSQL's text form of pg_snapshot, xmin:xmax:xip,xip,...
// age is what age('3'::xid) says in the same statement, which tells the next number
// that is given out: xmax is one past the last that has ended, so that the
// snapshot does not list those that have begun since.
func ParseSnapshot(text string, age, top int64) (s Snapshot, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("snapshot %q: not of the form xmin:xmax:xip", text)
	}
	numbers := parts[:2]
	if parts[2] != "" {
		numbers = append(numbers, strings.Split(parts[2], ",")...)
	}
	values := make([]uint64, len(numbers))
	for i, n := range numbers {
		if values[i], err = strconv.ParseUint(n, 10, 64); err != nil {
			return s, fmt.Errorf("snapshot %q: %w", text, err)
		}
	}
	s = Snapshot{Top: top, xmin: values[0], xmax: values[1], running: values[2:]}
	s.next = s.xmax + uint64(uint32(age)+firstXID-uint32(s.xmax)) // age has the lower half of the number
	return s, nil
}

// firstXID is the number whose age tells the next one: PostgreSQL's first ordinary one.
const firstXID = 3

// hasEnded reports whether a transaction that had begun has ended.
func (s Snapshot) hasEnded(xid uint64) bool {
	return xid < s.xmax && !slices.Contains(s.running, xid)
}

// View is a snapshot judged by those before it.
type View struct {
	xmin uint64
	// settledXID: a transaction that holds a row which a cursor may pass now has a
	// number below it.
	settledXID uint64
	// settledTop: up to here every seq was given out longer than grace ago.
	settledTop int64
	// late: a transaction that was open for long has ended since the last view.
	late bool
}

// Horizon remembers the snapshots of a lane's reads for a little longer than
// grace, to tell long transactions from ordinary ones.
type Horizon struct {
	grace   time.Duration
	samples []sample // oldest first
	writers []uint64 // open for long, as of the last view
}

// sample is a snapshot between two moments of the monotonic clock.
type sample struct {
	sent, got time.Time
	next      uint64
	top       int64
}

// NewHorizon returns a horizon that knows no snapshot yet.
func NewHorizon(grace time.Duration) Horizon { return Horizon{grace: grace} }

// Top returns the highest seq of the last snapshot that is remembered; 0: none is.
func (h Horizon) Top() int64 {
	if n := len(h.samples); n > 0 {
		return h.samples[n-1].top
	}
	return 0
}

// Look judges s, the snapshot of a statement that was sent and answered at these
// moments, and returns the horizon that knows it.
func (h Horizon) Look(s Snapshot, sent, got time.Time) (Horizon, View) {
	v := View{xmin: s.xmin, settledXID: s.next}
	// A row older than grace was written before any snapshot younger than that;
	// the older the snapshot, the fewer transactions are taken for long ones.
	for _, taken := range h.samples {
		if sent.Sub(taken.got) >= h.grace {
			v.settledTop = taken.top
		} else if got.Sub(taken.sent) <= h.grace*3/4 {
			v.settledXID = taken.next
			break
		}
	}
	v.late = slices.ContainsFunc(h.writers, s.hasEnded)
	var writers []uint64
	for _, xid := range s.running {
		if xid < v.settledXID {
			writers = append(writers, xid)
		}
	}
	for xid := s.xmax; xid < v.settledXID; xid++ {
		writers = append(writers, xid)
	}
	return Horizon{grace: h.grace, samples: h.with(sample{sent, got, s.next, s.Top}), writers: writers}, v
}

// with returns a few samples within grace and the last one beyond it.
func (h Horizon) with(s sample) []sample {
	const perGrace = 8
	kept := h.samples
	if n := len(kept); n > 0 && s.got.Sub(kept[n-1].got) < h.grace/perGrace {
		return kept
	}
	for len(kept) > 1 && s.got.Sub(kept[1].got) >= h.grace {
		kept = kept[1:]
	}
	return append(slices.Clone(kept), s)
}
