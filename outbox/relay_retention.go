package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
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
	sleep(ctx, r.cfg.PurgeInterval)
	r.every(ctx, partPurge, r.cfg.PurgeInterval, (&purging{relay: r, retention: retention}).round)
}

// purging is the purges of a relay.
type purging struct {
	relay     *Relay
	retention time.Duration
	stuck     int // rounds in a row in which nothing could be deleted
}

// round purges once, if that is this relay's to do.
func (p *purging) round(ctx context.Context) error {
	r := p.relay
	if r.leases.laneOf(purgeBucket) == nil {
		p.stuck = 0
		return nil
	}
	found, err := r.purge(ctx, p.retention)
	if err == nil || found.overdue > 0 {
		r.metrics.overdue.Found(found.overdue)
	}
	if found.deleted > 0 {
		r.log.DebugContext(ctx, "old messages deleted", "messages", found.deleted, "older_than", p.retention)
	}
	switch {
	case found.deleted > 0, err == nil && found.kept == 0:
		p.stuck = 0
	case err == nil:
		p.stuck++
	}
	if err == nil && p.stuck >= maxStuck {
		err = fmt.Errorf("%d %w: other sessions lock them, or a trigger keeps them", found.kept, errKept)
	}
	return err
}
