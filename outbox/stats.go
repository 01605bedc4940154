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

// Count is a number of rows. It is exact up to a bound and an estimate beyond, as
// counting a large table is slow.
type Count struct {
	N     int64
	Exact bool
}

// Stats holds the number of messages in each state.
type Stats struct {
	Pending     Count // to be published; includes the next three
	Retrying    Count // pending, have failed and will be retried
	Delayed     Count // pending, with an AvailableAt in the future, and have not failed
	Blocked     Count // pending, behind a failed message of their key
	BlockedKeys Count // keys with a failed message, which blocks later ones
	Dead        Count
	Published   Count // not yet purged
	Discarded   Count

	// OldestPending is when the oldest message that is due was enqueued or, if it was
	// delayed, became due; zero if there is none.
	OldestPending time.Time
	// OldestPendingAge is the age of OldestPending by the database's clock, as in
	// Health.OldestPending.
	OldestPendingAge time.Duration
}

// Stats counts the messages in each state. It is fast on a table of any size.
func (o *Outbox) Stats(ctx context.Context) (Stats, error) { return o.stats(ctx, exactUpTo) }

// stats counts exactly up to a bound.
func (o *Outbox) stats(ctx context.Context, bound int64) (s Stats, err error) {
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		s, err = readStats(ctx, tx, bound)
		return err
	})
	if err != nil {
		return Stats{}, fmt.Errorf("outbox: stats: %w", sqldb.Explain(err))
	}
	return s, nil
}

func readStats(ctx context.Context, tx *sqldb.Tx, bound int64) (Stats, error) {
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
	if err := tx.Get(ctx, &found, "stats", bound+1); err != nil {
		return Stats{}, err
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
