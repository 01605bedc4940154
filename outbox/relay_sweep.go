package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

const (
	partLeases = "leases"
	partSweep  = "sweep"
	partDue    = "due"
	partPurge  = "purge"

	// sweepPage is how many pending rows one statement of the sweep looks at.
	sweepPage = 1000
	// sweepShare is the part of the time that a sweep may take: 1 in 20.
	sweepShare = 20
	// fullSweepInterval is how often a sweep ignores its floors, so that an error in
	// them delays a message by no more than that.
	fullSweepInterval = time.Minute
)

// sweepLoop looks for rows behind the cursors, every SweepInterval and at most 5% of
// the time, and offers them to the lanes. With it cursors need not be exact. A new
// bucket needs no sweep, as its lane begins at its first row.
func (r *Relay) sweepLoop(ctx context.Context) {
	floors := make(map[lease]int64)
	full, generation := time.Now(), r.generations.now()
	pool, warned := r.outbox.db.Stats(), false
	sleep(ctx, r.cfg.SweepInterval)
	r.every(ctx, partSweep, r.cfg.SweepInterval, func(ctx context.Context) error {
		if now := r.generations.now(); now != generation || time.Since(full) >= fullSweepInterval {
			clear(floors)
			full, generation = time.Now(), now
		}
		if r.pauses.now().all {
			return nil // lanes take nothing
		}
		err := r.sweep(ctx, floors, generation)
		warned = warned || r.watchPool(ctx, pool)
		return err
	})
}

// stretch is the part of a bucket that is looked through.
type stretch struct {
	Bucket int   `json:"bucket"`
	From   int64 `json:"from"` // behind this seq
	To     int64 `json:"to"`   // to this one
}

// sweep reads every pending row between floor and cursor. A floor, kept in memory for
// as long as the lease, rises to the first row that is pending or may still appear.
// After each page it waits, so that pages take 5% of the time.
func (r *Relay) sweep(ctx context.Context, floors map[lease]int64, generation int) error {
	rises := make(map[lease]int64)
	owners := make(map[int]lease)
	var todo []stretch
	for _, l := range r.lanes {
		for _, b := range l.reaches() {
			floor := floors[b.lease]
			rises[b.lease], owners[b.Bucket] = min(b.position.Safe, b.position.Cursor), b.lease
			todo = append(todo, stretch{Bucket: b.Bucket, From: floor, To: b.position.Cursor})
		}
	}
	for l := range floors {
		if _, held := rises[l]; !held {
			delete(floors, l)
		}
	}
	for len(todo) > 0 && ctx.Err() == nil {
		start := time.Now()
		rows, err := r.sweepPage(ctx, todo)
		if err != nil {
			return err
		}
		for _, row := range rows {
			rises[owners[row.Bucket]] = min(rises[owners[row.Bucket]], row.Seq-1)
			if l := r.leases.laneOf(row.Bucket); row.Ready && l != nil {
				l.offer(row.stray)
			}
		}
		todo = remaining(todo, rows)
		sleep(ctx, (sweepShare-1)*time.Since(start))
	}
	if ctx.Err() != nil || r.generations.now() != generation { // not all was looked at, or the cursors were another database's
		return nil
	}
	for l, seq := range rises {
		floors[l] = max(floors[l], seq)
	}
	return nil
}

// swept is a pending row behind a cursor.
type swept struct {
	stray
	Ready bool `db:"ready"` // due, and no failed message of its key before it
}

func (r *Relay) sweepPage(ctx context.Context, todo []stretch) (rows []swept, err error) {
	if err := r.query(ctx, &rows, "sweep_page", jsonText(todo), sweepPage); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return rows, nil
}

// remaining returns the part of todo that a page has not reached. The page reads one
// bucket after the other, in any order.
func remaining(todo []stretch, page []swept) (rest []stretch) {
	if len(page) < sweepPage {
		return nil
	}
	seen := make(map[int]int64)
	for _, row := range page {
		seen[row.Bucket] = max(seen[row.Bucket], row.Seq)
	}
	for _, s := range todo {
		s.From = max(s.From, seen[s.Bucket])
		rest = append(rest, s)
	}
	return rest
}

// dueLoop offers the lanes rows behind their cursors that have become due: retries
// and delayed messages.
func (r *Relay) dueLoop(ctx context.Context) {
	idle, failures := time.Duration(0), 0
	for ctx.Err() == nil {
		start := time.Now()
		found, err := r.due(ctx)
		if ctx.Err() != nil {
			return
		}
		r.monitor.trouble(ctx, partDue, sqldb.Explain(err))
		switch {
		case err != nil:
			failures++
			idle = min(retryPause(failures), r.cfg.MaxPollInterval)
		case found:
			idle, failures = r.cfg.PollInterval, 0
		default:
			idle, failures = min(max(2*idle, r.cfg.PollInterval), r.cfg.MaxPollInterval), 0
		}
		// If much is due that waits for a suspended topic, this takes long and finds nothing.
		sleep(ctx, max(idle, time.Since(start)))
	}
}

// dueRow is a row that has become due.
type dueRow struct {
	stray
	AvailableAt string `db:"available_at"` // as the database writes it; empty: before all
}

// due goes once through everything that is due, page by page, as far as the
// lanes take it.
func (r *Relay) due(ctx context.Context) (found bool, err error) {
	limit := r.cfg.BatchSize
	var last dueRow
	for !r.pauses.now().all { // then lanes take nothing
		var rows []dueRow
		err := r.query(ctx, &rows, "sweep_due", last.AvailableAt, last.Seq, jsonText(r.leases.buckets()), limit)
		if err != nil {
			return found, fmt.Errorf("read: %w", err)
		}
		for _, row := range rows {
			l := r.leases.laneOf(row.Bucket)
			if l == nil {
				continue
			}
			taken, full := l.offer(row.stray)
			found = found || taken || full
			if full {
				return found, nil
			}
		}
		if len(rows) < limit {
			return found, nil
		}
		last = rows[len(rows)-1]
	}
	return found, nil
}
