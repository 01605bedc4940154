package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeChunk is how many rows one statement of Purge deletes: short enough
// that nobody waits for its locks.
const purgeChunk = 5000

// Purge forgets what this consumer applied longer than olderThan ago, by the
// database's clock, and returns how many events that were. A copy that comes
// later is applied again. Noted starts of that age go too. It works in chunks,
// each a transaction of its own, so a ctx that ends leaves done what is done.
// Any number of instances may purge at once.
func (in *Inbox) Purge(ctx context.Context, olderThan time.Duration) (n int64, err error) {
	if olderThan < 0 {
		return 0, fmt.Errorf("inbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	for {
		result, err := in.db.ExecContext(ctx, in.queries.Get("purge"), in.consumer, olderThan.Seconds(), purgeChunk)
		if err != nil {
			return n, fmt.Errorf("inbox: purge: %w", sqldb.Schema(err))
		}
		deleted, err := result.RowsAffected()
		if err != nil {
			return n, fmt.Errorf("inbox: purge: %w", err)
		}
		n += deleted
		if deleted < purgeChunk {
			break
		}
	}
	if _, err := in.db.ExecContext(ctx, in.queries.Get("purge_attempts"), in.consumer, olderThan.Seconds()); err != nil {
		return n, fmt.Errorf("inbox: purge starts: %w", sqldb.Schema(err))
	}
	return n, nil
}
