package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// countBound is where Stats stops counting.
const countBound = 100_000

// Count is a number of rows. Counting a big table is slow, so beyond a bound
// it is the bound, with Exact false. (An outbox estimates instead, by the
// planner's statistics, as its count is a backlog that operators compare.)
type Count struct {
	N     int64
	Exact bool
}

// Stats are numbers about the inbox of one consumer.
type Stats struct {
	Applied  Count     // events remembered
	Oldest   time.Time // when the oldest of them was applied; zero: there is none
	Newest   time.Time // when the newest was
	Suspects Count     // redelivered messages that were started and not finished: being handled now, or crashing the process
}

// Stats counts, cheaply on a table of any size.
func (in *Inbox) Stats(ctx context.Context) (Stats, error) {
	var found struct {
		Applied  int64         `db:"applied"`
		Oldest   sqldb.Instant `db:"oldest"`
		Newest   sqldb.Instant `db:"newest"`
		Suspects int64         `db:"suspects"`
	}
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Get(ctx, &found, "stats", in.consumer, countBound+1)
	})
	if err != nil {
		return Stats{}, fmt.Errorf("inbox: stats: %w", in.store.Failed(err))
	}
	return Stats{
		Applied: bounded(found.Applied), Oldest: found.Oldest.Time, Newest: found.Newest.Time, Suspects: bounded(found.Suspects),
	}, nil
}

func bounded(n int64) Count {
	return Count{N: min(n, countBound), Exact: n <= countBound}
}
