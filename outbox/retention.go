package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeChunk is how many rows one transaction of Purge reads: few enough that
// nothing waits for its locks.
const purgeChunk = 2000

// Purge deletes messages that were published or discarded longer than olderThan
// ago, by the database's clock, and returns their number. It deletes in chunks, each
// in its own transaction; if ctx ends, the chunks before stay deleted. Pending and
// dead messages are never deleted.
func (o *Outbox) Purge(ctx context.Context, olderThan time.Duration) (n int64, err error) {
	p, err := o.purge(ctx, olderThan, o.store.Write, nil)
	return p.deleted, err
}

// Purge is Outbox.Purge by hand: it is recorded, each chunk in its transaction. progress,
// unless nil, is called after each with the number so far.
func (p Operator) Purge(ctx context.Context, olderThan time.Duration, progress func(n int64)) (n int64, err error) {
	if err := p.check(ActionPurge); err != nil {
		return 0, fmt.Errorf("outbox: purge: %w", err)
	}
	entry := p.entry(ActionPurge, map[string]string{"older-than": olderThan.String()})
	done, err := p.outbox.purge(ctx, olderThan, p.outbox.store.Write, func(ctx context.Context, tx *sqldb.Tx, deleted, sum int64) error {
		if progress != nil {
			progress(sum)
		}
		return entry.add(ctx, tx, deleted, nil)
	})
	return done.deleted, err
}

// Purgeable returns how many messages a Purge would delete now, by reading as much of
// the table as Purge reads.
func (o *Outbox) Purgeable(ctx context.Context, olderThan time.Duration) (n int64, err error) {
	if olderThan < 0 {
		return 0, fmt.Errorf("outbox: purgeable: olderThan: %v; must not be negative", olderThan)
	}
	chunk := purgeChunkRow{Old: true}
	for chunk.Old {
		err := o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Get(ctx, &chunk, "purge_chunk", olderThan.Microseconds(), chunk.Last, purgeChunk)
		})
		if err != nil {
			return n, fmt.Errorf("outbox: purgeable: %w", sqldb.Explain(err))
		}
		n += chunk.Settled
	}
	return n, nil
}

// purgeChunkRow is a chunk of the table as a purge sees it.
type purgeChunkRow struct {
	Last    int64 `db:"last"`    // up to this seq
	Old     bool  `db:"old"`     // a message in it was enqueued before the cutoff
	Settled int64 `db:"settled"` // published or discarded before the cutoff
	Overdue int64 `db:"overdue"` // since when the oldest of those could be deleted, in microseconds
}

// purged is what a purge has done, up to its error if it failed.
type purged struct {
	deleted int64
	kept    int64         // rows of that age that could not be deleted
	overdue time.Duration // for how long at most the oldest of those could have been deleted; 0: there are none
}

// purge is Outbox.Purge, a chunk at a time through the gate. After each chunk it rests
// for twice the time that took, so that it takes no more than a third of a connection
// from those that publish.
func (r *Relay) purge(ctx context.Context, olderThan time.Duration) (purged, error) {
	return r.outbox.purge(ctx, olderThan, func(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
		began := time.Now()
		err := r.gated(ctx, func() error { return r.outbox.store.Write(ctx, do) })
		if err == nil {
			sleep(ctx, 2*time.Since(began))
		}
		return err
	}, nil)
}

// purge is Purge. write runs a transaction; record, unless nil, is called in each that has
// deleted something, with what that was and the sum.
func (o *Outbox) purge(ctx context.Context, olderThan time.Duration,
	write func(context.Context, func(context.Context, *sqldb.Tx) error) error,
	record func(ctx context.Context, tx *sqldb.Tx, deleted, sum int64) error) (p purged, err error) {
	if olderThan < 0 {
		return p, fmt.Errorf("outbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	age, from := olderThan.Microseconds(), int64(0)
	for {
		var chunk purgeChunkRow
		deleted := int64(0)
		err := write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			err := tx.Get(ctx, &chunk, "purge_chunk", age, from, purgeChunk)
			if err != nil || chunk.Settled == 0 {
				return err
			}
			result, err := tx.Exec(ctx, "purge", from, chunk.Last, age)
			if err != nil {
				return err
			}
			if deleted, err = result.RowsAffected(); err != nil || deleted == 0 || record == nil {
				return err
			}
			return record(ctx, tx, deleted, p.deleted+deleted)
		})
		if err != nil || deleted < chunk.Settled {
			p.overdue = max(p.overdue, time.Duration(chunk.Overdue)*time.Microsecond)
		}
		if err != nil {
			return p, fmt.Errorf("outbox: purge: %w", sqldb.Explain(err))
		}
		p.deleted, p.kept, from = p.deleted+deleted, p.kept+max(0, chunk.Settled-deleted), chunk.Last
		if !chunk.Old {
			return p, nil
		}
	}
}
