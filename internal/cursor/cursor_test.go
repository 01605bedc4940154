package cursor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const grace = time.Second

// world is a database as a model: transactions that insert rows into one bucket,
// and a reader that follows them with a cursor.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	now    time.Time
	next   uint64 // number of the next transaction
	ended  uint64 // the highest number that has ended
	seq    int64
	open   []*transaction
	rows   []*row // committed
	writes int    // rows inserted so far

	horizon  Horizon
	position Position
	log      []string
}

type transaction struct {
	xid  uint64
	rows []*row
}

type row struct {
	seq     int64
	created time.Time
	done    bool
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6d ms  ", w.now.Sub(time.Unix(0, 0)).Milliseconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// begin opens a transaction; it has a number only once it writes.
func (w *world) begin() { w.open = append(w.open, &transaction{}) }

// write has a transaction write something, of this bucket or not.
func (w *world) write(tx *transaction, insert bool) {
	if tx.xid == 0 {
		tx.xid = w.next
		w.next++
	}
	if !insert {
		w.note("transaction %d writes elsewhere", tx.xid)
		return
	}
	w.seq += 1 + w.rnd.Int64N(3) // other buckets have numbers, too
	w.writes++
	tx.rows = append(tx.rows, &row{seq: w.seq, created: w.now})
	w.note("transaction %d inserts %d", tx.xid, w.seq)
}

func (w *world) end(i int, commit bool) {
	tx := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	w.ended = max(w.ended, tx.xid)
	if !commit {
		w.note("transaction %d rolls back", tx.xid)
		return
	}
	for _, r := range tx.rows {
		if r.seq <= w.position.Safe {
			w.fail("%d appears at or below %d, which was safe", r.seq, w.position.Safe)
		}
	}
	w.rows = append(w.rows, tx.rows...)
	slices.SortFunc(w.rows, func(a, b *row) int { return int(a.seq - b.seq) })
	w.note("transaction %d commits", tx.xid)
}

// snapshot is what PostgreSQL says of the open transactions: running ones below
// the one past the last that has ended.
func (w *world) snapshot() Snapshot {
	xmax := w.ended + 1
	xmin := xmax
	var running []string
	for _, tx := range w.open {
		if tx.xid != 0 && tx.xid < xmax {
			xmin = min(xmin, tx.xid)
			running = append(running, fmt.Sprint(tx.xid))
		}
	}
	top := int64(0)
	for _, r := range w.rows {
		top = max(top, r.seq)
	}
	age := int64(int32(uint32(w.next) - firstXID))
	s, err := ParseSnapshot(fmt.Sprintf("%d:%d:%s", xmin, xmax, strings.Join(running, ",")), age, top)
	if err != nil {
		w.fail("%v", err)
	}
	if s.next != w.next {
		w.fail("the next transaction is %d, not %d", w.next, s.next)
	}
	return s
}

// turn is one turn of a lane: read up to limit rows, and publish some of them.
// Rows that have the property which the order of keys relies on: when rows are
// sent, none that is there lies behind the cursor.
func (w *world) turn(limit int) {
	before := w.position
	sent := w.now
	s := w.snapshot()
	rows, clock := slices.Clone(w.rows), w.now
	w.pass(time.Duration(w.rnd.IntN(150)) * time.Millisecond) // until the answer is there
	horizon, view := w.horizon.Look(s, sent, w.now)
	position, back := w.position.Look(view)
	w.horizon, w.position = horizon, position
	if w.position.Safe < before.Safe || w.position.Cursor > before.Cursor {
		w.fail("looked from %+v to %+v", before, w.position)
	}
	if back {
		w.note("back to %+v", w.position)
		return // and reads again before it sends
	}
	var found []Row
	for _, r := range rows {
		if r.done {
			continue
		}
		if r.seq <= w.position.Cursor {
			w.fail("%d lies behind the cursor, %d, when rows are sent", r.seq, w.position.Cursor)
		}
		if len(found) < limit {
			r.done = w.rnd.IntN(8) > 0 // else the broker gives no verdict
			found = append(found, Row{r.seq, r.done, r.created.Before(clock.Add(-grace))})
		}
	}
	w.position = w.position.Pass(w.position.Cursor, found, len(found) < limit, view)
	w.note("read %v: %+v", found, w.position)
	if w.position.Cursor < position.Cursor || w.position.Safe < position.Safe {
		w.fail("passed from %+v to %+v", position, w.position)
	}
}

// Whatever transactions do, and however long they take: nothing appears at or
// below Safe, and when rows are sent none lies behind the cursor. In the end
// everything was read.
func TestPositionSkipsNoRow(t *testing.T) {
	base := rand.Uint64()
	for run := range uint64(1000) {
		seed := base + run
		w := &world{
			t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(0, 0), horizon: NewHorizon(grace),
			// Numbers of 64 bits, of which age tells the lower half.
			next: 1<<32 - 20, ended: 1<<32 - 21,
		}
		w.note("seed %d", seed)
		idle := 1 + w.rnd.IntN(200<<w.rnd.IntN(4))
		for range 150 {
			w.pass(time.Duration(w.rnd.IntN(idle)) * time.Millisecond)
			switch action := w.rnd.IntN(10); {
			case action < 2 || len(w.open) == 0:
				w.begin()
			case action < 5:
				w.write(w.open[w.rnd.IntN(len(w.open))], w.rnd.IntN(3) > 0)
			case action < 6:
				w.end(w.rnd.IntN(len(w.open)), w.rnd.IntN(5) > 0)
			default:
				w.turn(1 + w.rnd.IntN(6))
			}
		}
		for len(w.open) > 0 {
			w.end(0, true)
		}
		for range 10 * (w.writes + 2) {
			w.pass(grace / 4)
			w.turn(3)
		}
		if i := slices.IndexFunc(w.rows, func(r *row) bool { return !r.done }); i >= 0 {
			w.fail("%d was never read", w.rows[i].seq)
		}
		if n := len(w.rows); n > 0 && w.position.Cursor < w.rows[n-1].seq {
			w.fail("the cursor stays at %d, and there are rows up to %d", w.position.Cursor, w.rows[n-1].seq)
		}
		if n := len(w.horizon.samples); n > 12 {
			w.fail("%d samples are kept", n)
		}
	}
}
