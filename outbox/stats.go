package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// exactUpTo is how many rows Stats counts one by one before it estimates.
const exactUpTo = 100_000

// Count is a number of rows. On a big table counting is slow, so beyond a
// bound it is an estimate from the database's statistics.
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
	BlockedKeys Count // keys with a failed message that holds back others of the key
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
func (o *Outbox) Stats(ctx context.Context) (Stats, error) {
	var found struct {
		Pending       int64        `db:"pending"`
		Retrying      int64        `db:"retrying"`
		Delayed       int64        `db:"delayed"`
		Blocked       int64        `db:"blocked"`
		BlockedKeys   int64        `db:"blocked_keys"`
		Dead          int64        `db:"dead"`
		Discarded     int64        `db:"discarded"`
		Published     int64        `db:"published"`
		AnyStatus     int64        `db:"any_status"`
		Rows          float64      `db:"estimated_rows"`
		PendingRows   float64      `db:"estimated_pending"`
		OldestPending sql.NullTime `db:"oldest_pending"`
		Now           time.Time    `db:"now"`
	}
	query := o.dialect.Rebind(o.queries.Get("stats"))
	if err := o.db.GetContext(ctx, &found, query, exactUpTo+1); err != nil {
		return Stats{}, fmt.Errorf("outbox: stats: %w", sqldb.Schema(err))
	}
	s := Stats{
		Pending:     bounded(found.Pending, found.PendingRows),
		Retrying:    bounded(found.Retrying, 0),
		Delayed:     bounded(found.Delayed, 0),
		Blocked:     bounded(found.Blocked, 0),
		BlockedKeys: bounded(found.BlockedKeys, 0),
		Dead:        bounded(found.Dead, 0),
		Discarded:   bounded(found.Discarded, 0),
		Published:   Count{N: found.Published, Exact: true},
	}
	if found.AnyStatus > exactUpTo {
		rest := int64(found.Rows) - s.Pending.N - s.Dead.N - s.Discarded.N
		s.Published = Count{N: max(rest, found.Published)}
	}
	// The join that counts the blocked looks at no more pending rows than were counted.
	s.Blocked.Exact = s.Blocked.Exact && s.Pending.Exact
	s.BlockedKeys.Exact = s.BlockedKeys.Exact && s.Pending.Exact
	if s.OldestPending = utc(found.OldestPending); !s.OldestPending.IsZero() {
		s.OldestPendingAge = max(0, found.Now.Sub(s.OldestPending))
	}
	return s, nil
}

// bounded is n where it was counted to the end, else the better of the bound
// and the estimate.
func bounded(n int64, estimate float64) Count {
	if n <= exactUpTo {
		return Count{N: n, Exact: true}
	}
	return Count{N: max(exactUpTo, int64(estimate))}
}
