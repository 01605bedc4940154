package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

const (
	partOldest = "oldest"
	// gaugeInterval is how often the oldest message is looked for, unless
	// SweepInterval is shorter.
	gaugeInterval = 5 * time.Second
)

// gaugeLoop measures the age of the oldest message of all buckets, at most 5% of the
// time.
func (r *Relay) gaugeLoop(ctx context.Context) {
	interval := min(gaugeInterval, r.cfg.SweepInterval)
	for ctx.Err() == nil {
		began := time.Now()
		err := r.measureOldest(ctx)
		if ctx.Err() != nil {
			return
		}
		r.monitor.trouble(ctx, partOldest, sqldb.Explain(err))
		sleep(ctx, max(interval, (sweepShare-1)*time.Since(began)))
	}
}

func (r *Relay) measureOldest(ctx context.Context) error {
	var age []sql.NullInt64 // in microseconds; NULL: nothing is pending
	if err := r.query(ctx, &age, "oldest"); err != nil {
		return fmt.Errorf("find the oldest message: %w", err)
	}
	r.monitor.oldest(max(0, time.Duration(age[0].Int64)*time.Microsecond))
	return nil
}
