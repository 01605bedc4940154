package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeChunk is how many rows one statement of Purge looks at: short enough
// that nobody waits for its locks.
const purgeChunk = 2000

// Purge deletes what was published or discarded longer than olderThan ago, by
// the database's clock, and returns how many rows that were. It works in
// chunks, each a transaction of its own, so a ctx that ends leaves done what
// is done. Pending and dead messages are never deleted, however old.
func (o *Outbox) Purge(ctx context.Context, olderThan time.Duration) (n int64, err error) {
	if olderThan < 0 {
		return 0, fmt.Errorf("outbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	query := o.dialect.Rebind(o.queries.Get("purge"))
	var chunk struct {
		Deleted int64 `db:"deleted"`
		Last    int64 `db:"last"`
		More    bool  `db:"more"`
	}
	for {
		err := o.db.GetContext(ctx, &chunk, query, olderThan.Microseconds(), chunk.Last, purgeChunk)
		if err != nil {
			return n, fmt.Errorf("outbox: purge: %w", sqldb.Schema(err))
		}
		n += chunk.Deleted
		if !chunk.More {
			return n, nil
		}
	}
}
