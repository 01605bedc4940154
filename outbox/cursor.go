package outbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A lane reads each bucket onwards from a cursor, because rows published
// before stay in the index as dead entries while an old snapshot is open
// anywhere. seq is not commit order, so a cursor is no more than a hint: a row
// can appear behind it. Four things bring such rows back:
//
//   - grace: a cursor passes only what is older than a moment, which covers
//     transactions of ordinary length;
//   - writers: transactions that were open for longer than that when a cursor
//     passed are remembered; when one has ended, the cursor returns to where no
//     transaction open then could write (reach.safe) before anything else is sent;
//   - interventions: after a retry or discard by hand the cursor starts over;
//   - the sweep, which knows nothing of all this and finds what is left.
//
// The second keeps the order inside a key: the row of a long transaction goes
// out before the rows of its key that were enqueued after its commit.

// reach is how far one bucket has been read.
type reach struct {
	cursor int64 // read onwards from here
	safe   int64 // no transaction can add a row at or below
	mark   mark  // where safe will move to; zero: nowhere
}

// mark is a cursor that becomes safe when every transaction below xmax has ended.
type mark struct {
	seq  int64
	xmax uint64
}

// advance moves the cursor to seq, by what v saw.
func (r *reach) advance(seq int64, v view) {
	if seq <= r.cursor {
		return
	}
	r.cursor = seq
	switch {
	case v.xmin >= v.settledXmax:
		r.safe, r.mark = max(r.safe, seq), mark{}
	case r.mark == mark{}:
		r.mark = mark{seq, v.settledXmax}
	}
}

// look takes the cursor back where v says that rows may have appeared behind
// it, and reports whether it did. Only then can the mark become safe: what lies
// before it is read once more.
func (r *reach) look(v view) (back bool) {
	if v.late && r.cursor > r.safe {
		r.cursor, back = r.safe, true
	}
	if r.mark.xmax != 0 && v.xmin >= r.mark.xmax {
		r.safe, r.mark = max(r.safe, r.mark.seq), mark{}
	}
	return back
}

// rewind takes the cursor back to just before seq.
func (r *reach) rewind(seq int64) { r.cursor = min(r.cursor, seq-1) }

// snapshot is what one statement saw: which transactions had ended, and the
// highest seq that was there.
type snapshot struct {
	xmin, xmax uint64   // all below xmin have ended; none from xmax on has begun
	running    []uint64 // those between that have not ended
	top        int64
}

// parseSnapshot reads PostgreSQL's text form of pg_snapshot, xmin:xmax:xip,xip,...
func parseSnapshot(text string, top int64) (s snapshot, err error) {
	s.top = top
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
	s.xmin, s.xmax, s.running = values[0], values[1], values[2:]
	return s, nil
}

func (s snapshot) isRunning(xid uint64) bool { return slices.Contains(s.running, xid) }

// view is a snapshot judged by those before it.
type view struct {
	snapshot
	// settledXmax: a transaction that holds a row which a cursor may pass now
	// has a number below it.
	settledXmax uint64
	// settledTop: up to here every seq was given out longer than grace ago.
	settledTop int64
	// late: a transaction that was open for long has ended since the last view.
	late bool
}

// horizon remembers the snapshots of one lane's reads for a little longer than
// grace, to tell long transactions from ordinary ones.
type horizon struct {
	grace   time.Duration
	samples []sample // oldest first
	writers []uint64 // open for long, as of the last view
}

type sample struct {
	at   time.Time // the monotonic clock counts
	xmax uint64
	top  int64
}

// look judges s, taken at now.
func (h *horizon) look(s snapshot, now time.Time) view {
	v := view{snapshot: s, settledXmax: s.xmax}
	// A row older than grace was written before any sample younger than that;
	// the older the sample, the fewer transactions are taken for long ones.
	for _, taken := range h.samples {
		if age := now.Sub(taken.at); age >= h.grace {
			v.settledTop = taken.top
		} else if age <= h.grace*3/4 {
			v.settledXmax = taken.xmax
			break
		}
	}
	for _, xid := range h.writers {
		v.late = v.late || !s.isRunning(xid)
	}
	h.writers = h.writers[:0]
	for _, xid := range s.running {
		if xid < v.settledXmax {
			h.writers = append(h.writers, xid)
		}
	}
	h.record(s, now)
	return v
}

// record keeps a few samples within grace and the last one beyond it.
func (h *horizon) record(s snapshot, now time.Time) {
	const perGrace = 8
	if n := len(h.samples); n > 0 && now.Sub(h.samples[n-1].at) < h.grace/perGrace {
		return
	}
	for len(h.samples) > 1 && now.Sub(h.samples[1].at) >= h.grace {
		h.samples = h.samples[1:]
	}
	h.samples = append(h.samples, sample{at: now, xmax: s.xmax, top: s.top})
}
