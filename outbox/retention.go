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
	n, _, err = o.purge(ctx, olderThan, o.store.Write)
	return n, err
}

// purge is Outbox.Purge, a chunk at a time through the gate.
func (r *Relay) purge(ctx context.Context, olderThan time.Duration) (n, kept int64, err error) {
	return r.outbox.purge(ctx, olderThan, func(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
		return r.gated(ctx, func() error { return r.outbox.store.Write(ctx, do) })
	})
}

// purge is Purge; kept says how many rows of that age could not be deleted. write
// runs a transaction.
func (o *Outbox) purge(ctx context.Context, olderThan time.Duration,
	write func(context.Context, func(context.Context, *sqldb.Tx) error) error) (n, kept int64, err error) {
	if olderThan < 0 {
		return 0, 0, fmt.Errorf("outbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	age, from := olderThan.Microseconds(), int64(0)
	for {
		var chunk struct {
			Last    int64 `db:"last"`
			Old     bool  `db:"old"`
			Settled int64 `db:"settled"`
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
		if err != nil {
			return n, kept, fmt.Errorf("outbox: purge: %w", sqldb.Explain(err))
		}
		n, kept, from = n+deleted, kept+max(0, chunk.Settled-deleted), chunk.Last
		if !chunk.Old {
			return n, kept, nil
		}
	}
}
