package outbox

import (
	"context"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// While there is more than a page to read, a lane also takes the newest rows of its
// buckets, of keys that nothing else is pending of: a message does not wait behind a
// backlog of other keys. Cursors do not notice, and their rules are what the order
// inside a key relies on as before; see ADR 33.

const (
	// freshShare is the part of a lane's time that looking for such rows may take: 1 in 10.
	freshShare = 10
	// A look takes about this long, or is at one bucket: the lane waits for it.
	freshLookTime = 20 * time.Millisecond
	// maxFresh is how many rows of one bucket a look returns, and freshPart which part of a
	// batch all of them together are: 1 in 4.
	maxFresh  = 8
	freshPart = 4
)

// freshLook is when a lane looks for fresh rows next, and in how many buckets.
type freshLook struct {
	next    time.Time
	buckets int
	first   int // the bucket to begin with, so that each has its turn
}

// news are rows that a lane has found ahead of its page.
type news struct {
	asks []ask // where it looks; none: it does not
	each int   // rows of a bucket
	rows []*outgoing
}

// newsOf returns where to look for fresh rows in this turn.
func (l *lane) newsOf(asks []ask, limit int) (n news) {
	if !l.backlog || time.Now().Before(l.look.next) {
		return n
	}
	turn := func(a ask) int { return (a.Bucket - l.look.first + buckets) % buckets }
	n.asks = slices.SortedFunc(slices.Values(asks), func(a, b ask) int { return turn(a) - turn(b) })
	n.asks = n.asks[:min(len(asks), l.look.buckets)]
	l.look.first = (n.asks[len(n.asks)-1].Bucket + 1) % buckets
	n.each = min(max(1, limit/freshPart/len(n.asks)), maxFresh)
	return n
}

// lookForNews reads fresh rows, in the transaction of the read that follows.
func (l *lane) lookForNews(ctx context.Context, tx *sqldb.Tx, n *news) error {
	if len(n.asks) == 0 {
		return nil
	}
	n.rows = nil
	began := time.Now()
	err := scanRows(ctx, tx, func(_ string, row *outgoing, _ bool) error {
		row.fresh = true
		n.rows = append(n.rows, row)
		return nil
	}, "lane_fresh", jsonText(n.asks), n.each, l.relay.cfg.BatchBytes/freshPart)
	took := time.Since(began)
	l.look.next = time.Now().Add((freshShare - 1) * took)
	switch {
	case took > freshLookTime:
		l.look.buckets = max(1, l.look.buckets/2)
	case took < freshLookTime/4:
		l.look.buckets = min(2*l.look.buckets, buckets)
	}
	return err
}

// bytes returns how many bytes the payloads have.
func (n *news) bytes() (bytes int) {
	for _, row := range n.rows {
		bytes += len(row.Payload)
	}
	return bytes
}

// apart returns the rows that are not in the page as well. held has the interventions
// of the buckets that the read after the look found to be ours: where somebody has
// intervened in between, what is pending behind the cursor is another than the look
// relied on.
func (n *news) apart(page []*outgoing, held map[int]int64) []*outgoing {
	if len(n.rows) == 0 {
		return nil
	}
	known := make(map[int64]bool, len(page))
	for _, row := range page {
		known[row.Seq] = true
	}
	seen := make(map[int]int64, len(n.asks))
	for _, a := range n.asks {
		seen[a.Bucket] = a.Interventions
	}
	return slices.DeleteFunc(n.rows, func(row *outgoing) bool {
		interventions, ours := held[row.bucket]
		return known[row.Seq] || !ours || interventions != seen[row.bucket]
	})
}
