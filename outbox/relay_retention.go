package outbox

import (
	"context"
	"fmt"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeBucket elects the relay that purges: whoever holds it. That two do so
// for a moment, as it changes hands, does no harm.
const purgeBucket = 0

// maxStuck is how often in a row work may come to nothing before that is trouble.
const maxStuck = 3

// errKept, for strangers: the table grows.
const errKept = health.Public("old messages cannot be deleted")

// purgeLoop deletes what has outlived Retention, every PurgeInterval.
func (r *Relay) purgeLoop(ctx context.Context) {
	retention := r.cfg.Retention
	switch retention {
	case KeepForever:
		return
	case DeleteOnPublish: // discarded messages, and what was published under another setting
		retention = DefaultRetention
	}
	stuck := 0 // rounds in a row in which nothing could be deleted
	for sleep(ctx, r.cfg.PurgeInterval); ctx.Err() == nil; sleep(ctx, r.cfg.PurgeInterval) {
		if r.leases.laneOf(purgeBucket) == nil {
			stuck = 0
			r.monitor.trouble(ctx, partPurge, nil) // it is another relay's
			continue
		}
		p, err := r.purge(ctx, retention)
		if ctx.Err() != nil {
			return
		}
		if err == nil || p.overdue > 0 {
			r.metrics.overdue.Found(p.overdue)
		}
		if stuck++; p.deleted > 0 || p.kept == 0 {
			stuck = 0
		}
		if err == nil && stuck >= maxStuck {
			err = fmt.Errorf("%d %w: other sessions lock them, or a trigger keeps them", p.kept, errKept)
		}
		r.monitor.trouble(ctx, partPurge, sqldb.Explain(err))
		if p.deleted > 0 {
			r.log.DebugContext(ctx, "old messages deleted", "messages", p.deleted, "older_than", retention)
		}
	}
}
