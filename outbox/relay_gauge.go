package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/backoff"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

const (
	partOldest = "oldest"
	// gaugeInterval is how often the oldest message is looked for, unless
	// SweepInterval is shorter.
	gaugeInterval = 5 * time.Second
)

// gaugeLoop measures the age of the oldest message of all buckets and, in one of the
// relays, the backlog, at most 5% of the time. What a measurement costs is the lesser
// of two: one may have waited for a processor or a connection, and a pause for that
// would leave the gauges old for minutes. One that failed has waited, too, and is
// tried again soon, at most half of the time.
func (r *Relay) gaugeLoop(ctx context.Context) {
	pauses := newGaugePauses(min(gaugeInterval, r.cfg.SweepInterval))
	for ctx.Err() == nil {
		began := time.Now()
		err := r.measureOldest(ctx)
		if ctx.Err() != nil {
			return
		}
		r.monitor.trouble(ctx, partOldest, sqldb.Explain(err))
		sleep(ctx, pauses.after(err, time.Since(began)))
	}
}

// gaugePauses are the waits between measurements.
type gaugePauses struct {
	backoff.Periodic
	last time.Duration // what the last measurement took, or the interval
}

func newGaugePauses(interval time.Duration) *gaugePauses {
	return &gaugePauses{backoff.Periodic{Interval: interval, Retry: retries}, interval}
}

// after returns the wait after a measurement that has ended with err.
func (p *gaugePauses) after(err error, took time.Duration) time.Duration {
	pause := p.After(err, took)
	if err != nil {
		return max(pause, took)
	}
	pause = max(pause, (sweepShare-1)*min(took, p.last))
	p.last = took
	return pause
}

// measureOldest measures the whole backlog where this relay does that for all and
// somebody listens.
func (r *Relay) measureOldest(ctx context.Context) error {
	if r.measuresBacklog() && r.metrics.Enabled(ctx) {
		return r.measureBacklog(ctx)
	}
	var age []sql.NullInt64 // in microseconds; NULL: nothing is pending
	if err := r.query(ctx, &age, "oldest"); err != nil {
		return fmt.Errorf("find the oldest message: %w", err)
	}
	r.monitor.oldest(max(0, time.Duration(age[0].Int64)*time.Microsecond))
	return nil
}

func (r *Relay) measureBacklog(ctx context.Context) error {
	var found Stats
	err := r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		found, err = readStats(ctx, tx, exactUpTo)
		return err
	})
	if err != nil {
		return fmt.Errorf("measure the backlog: %w", err)
	}
	r.metrics.found(found)
	r.monitor.oldest(found.OldestPendingAge)
	return nil
}
