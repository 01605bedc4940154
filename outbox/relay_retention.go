package outbox

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeBucket elects the relay that purges: whoever holds it. That two do so
// for a moment, as it changes hands, does no harm.
const purgeBucket = 0

// purgeLoop deletes what has outlived Retention, every PurgeInterval.
func (r *Relay) purgeLoop(ctx context.Context) {
	retention := r.cfg.Retention
	switch retention {
	case KeepForever:
		return
	case DeleteOnPublish: // discarded messages, and what was published under another setting
		retention = DefaultRetention
	}
	for sleep(ctx, r.cfg.PurgeInterval); ctx.Err() == nil; sleep(ctx, r.cfg.PurgeInterval) {
		if r.keeper.laneOf(purgeBucket) == nil {
			continue
		}
		n, err := r.outbox.Purge(ctx, retention)
		if ctx.Err() != nil {
			return
		}
		r.monitor.trouble(ctx, partPurge, sqldb.Explain(err))
		if n > 0 {
			r.log.DebugContext(ctx, "old messages deleted", "messages", n, "older_than", retention)
		}
	}
}
