package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/cursor"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Tail follows an outbox: it returns messages as their transactions commit. The order
// of commits is not that of seq, so it reads the last second again each time, and more
// after a transaction that was open for longer. It is not safe for concurrent use.
type Tail struct {
	outbox   *Outbox
	query    ListQuery
	begun    bool
	horizon  cursor.Horizon
	position cursor.Position
	seen     map[int64]struct{} // behind position.Safe
}

const (
	tailGrace = time.Second
	// tailMost is how many messages a call of Next returns.
	tailMost = 1000
)

// Tail returns a Tail of the messages that match the filters of q as they are when
// they are read; its After, Limit and OldestFirst are ignored.
func (o *Outbox) Tail(q ListQuery) *Tail {
	q.After, q.Limit, q.OldestFirst = 0, MaxLimit, true
	return &Tail{outbox: o, query: q, horizon: cursor.NewHorizon(tailGrace), seen: make(map[int64]struct{})}
}

// Begin returns the newest n messages, at most MaxLimit, the oldest first. Next
// returns those that are committed later. One whose seq is lower than that of the
// newest MaxLimit at this moment is missed.
func (t *Tail) Begin(ctx context.Context, n int) ([]Record, error) {
	q := t.query
	q.OldestFirst = false
	page, err := t.outbox.List(ctx, q)
	if err != nil {
		return nil, err
	}
	newest := page.Records
	slices.Reverse(newest)
	clear(t.seen)
	t.position = cursor.Position{}
	for _, r := range newest {
		t.seen[r.Seq] = struct{}{}
	}
	if page.Next != 0 {
		t.position = cursor.Position{Cursor: newest[0].Seq - 1, Safe: newest[0].Seq - 1}
	}
	t.begun = true
	return newest[max(0, len(newest)-n):], nil
}

// Next returns messages that were committed since the call before, or since Begin, in
// the order of seq; none: there are none, and it is worth to wait. more reports that
// there may be others at once. The error may be that of a database that is away: Next
// can be called again.
func (t *Tail) Next(ctx context.Context) (fresh []Record, more bool, err error) {
	if !t.begun {
		if _, err := t.Begin(ctx, 0); err != nil {
			return nil, false, err
		}
	}
	view, now, err := t.look(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("outbox: tail: %w", sqldb.Explain(err))
	}
	t.position, _ = t.position.Look(view)
	q, from := t.query, t.position.Cursor
	q.After = from
	var rows []cursor.Row
	for {
		page, err := t.outbox.List(ctx, q)
		if err != nil {
			return nil, false, err
		}
		for _, r := range page.Records {
			rows = append(rows, cursor.Row{Seq: r.Seq, Done: true, Old: r.CreatedAt.Before(now.Add(-tailGrace))})
			if _, known := t.seen[r.Seq]; !known {
				t.seen[r.Seq] = struct{}{}
				fresh = append(fresh, r)
			}
		}
		if more = page.Next != 0; !more || len(fresh) >= tailMost {
			break
		}
		q.After = page.Next
	}
	t.position = t.position.Pass(from, rows, !more, view)
	for seq := range t.seen {
		if seq <= min(t.position.Safe, t.position.Cursor) {
			delete(t.seen, seq)
		}
	}
	return fresh, more, nil
}

// look judges what is committed by now. Rows that are read after it are more, never
// less, than its snapshot has.
func (t *Tail) look(ctx context.Context) (view cursor.View, now time.Time, err error) {
	var frame struct {
		Snapshot string        `db:"snapshot"`
		Age      int64         `db:"age"`
		Now      sqldb.Instant `db:"now"`
		Top      int64         `db:"top"`
	}
	sent := time.Now()
	err = t.outbox.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &frame, "tail_frame") })
	if err != nil {
		return view, now, err
	}
	snapshot, err := cursor.ParseSnapshot(frame.Snapshot, frame.Age, frame.Top)
	if err != nil {
		return view, now, err
	}
	t.horizon, view = t.horizon.Look(snapshot, sent, time.Now())
	return view, frame.Now.Time, nil
}
