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
	p, err := o.purge(ctx, olderThan, o.store.Write)
	return p.deleted, err
}

// purged is what a purge has done, up to its error if it failed.
type purged struct {
	deleted int64
	kept    int64         // rows of that age that could not be deleted
	overdue time.Duration // for how long at most the oldest of those could have been deleted; 0: there are none
}

// purge is Outbox.Purge, a chunk at a time through the gate.
func (r *Relay) purge(ctx context.Context, olderThan time.Duration) (purged, error) {
	return r.outbox.purge(ctx, olderThan, func(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
		return r.gated(ctx, func() error { return r.outbox.store.Write(ctx, do) })
	})
}

// purge is Purge. write runs a transaction.
func (o *Outbox) purge(ctx context.Context, olderThan time.Duration,
	write func(context.Context, func(context.Context, *sqldb.Tx) error) error) (p purged, err error) {
	if olderThan < 0 {
		return p, fmt.Errorf("outbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	age, from := olderThan.Microseconds(), int64(0)
	for {
		var chunk struct {
			Last    int64 `db:"last"`
			Old     bool  `db:"old"`
			Settled int64 `db:"settled"`
			Overdue int64 `db:"overdue"`
		}
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
			deleted, err = result.RowsAffected()
			return err
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
