package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// exactUpTo is how many rows of a state Stats counts one by one. Of published
// rows it is ten times as many.
const exactUpTo = 10_000

// Count is a number of rows. Counting a big table is slow, so beyond a bound
// the number is an estimate.
type Count struct {
	N     int64
	Exact bool
}

// Stats says how the outbox stands.
type Stats struct {
	Pending     Count // to be published; includes the next three
	Retrying    Count // have failed and will be tried again
	Delayed     Count // wait for their AvailableAt, without a failure
	Blocked     Count // wait for a failed message of their key
	BlockedKeys Count // keys with a failed message, which holds back what comes later in them
	Dead        Count
	Published   Count // as far as they have not been purged
	Discarded   Count

	// OldestPending is when the oldest message that should be out by now was
	// enqueued or, where it was delayed, became available; zero: there is none.
	OldestPending time.Time
	// OldestPendingAge is how long ago that was, by the database's clock.
	OldestPendingAge time.Duration
}

// Stats counts what is in the outbox, cheaply on a table of any size.
func (o *Outbox) Stats(ctx context.Context) (Stats, error) { return o.stats(ctx, exactUpTo) }

// stats counts exactly up to a bound.
func (o *Outbox) stats(ctx context.Context, bound int64) (Stats, error) {
	var found struct {
		Pending          int64         `db:"pending"`
		EstimatedPending sql.NullInt64 `db:"estimated_pending"`
		Retrying         int64         `db:"retrying"`
		Delayed          int64         `db:"delayed"`
		Blocked          int64         `db:"blocked"`
		BlockedExact     bool          `db:"blocked_exact"`
		BlockedKeys      int64         `db:"blocked_keys"`
		Dead             int64         `db:"dead"`
		Discarded        int64         `db:"discarded"`
		Published        int64         `db:"published"`
		PublishedExact   bool          `db:"published_exact"`
		EstimatedRows    float64       `db:"estimated_rows"`
		OldestPending    sqldb.Instant `db:"oldest_pending"`
		Now              sqldb.Instant `db:"now"`
	}
	err := o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Get(ctx, &found, "stats", bound+1)
	})
	if err != nil {
		return Stats{}, fmt.Errorf("outbox: stats: %w", sqldb.Explain(err))
	}
	bounded := func(n int64) Count { return Count{N: min(n, bound), Exact: n <= bound} }
	s := Stats{
		Pending:     bounded(found.Pending),
		Retrying:    bounded(found.Retrying),
		Delayed:     bounded(found.Delayed),
		Blocked:     Count{N: found.Blocked, Exact: found.BlockedExact},
		BlockedKeys: bounded(found.BlockedKeys),
		Dead:        bounded(found.Dead),
		Discarded:   bounded(found.Discarded),
		Published:   Count{N: found.Published, Exact: found.PublishedExact},
	}
	if !s.Pending.Exact {
		s.Pending.N = max(s.Pending.N, found.EstimatedPending.Int64)
	}
	if !s.Published.Exact {
		s.Published.N = max(found.Published, int64(found.EstimatedRows)-s.Pending.N-s.Dead.N-s.Discarded.N)
	}
	if s.OldestPending = found.OldestPending.Time; !s.OldestPending.IsZero() {
		s.OldestPendingAge = max(0, found.Now.Sub(s.OldestPending))
	}
	return s, nil
}
