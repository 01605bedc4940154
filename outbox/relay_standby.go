package outbox

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// standby is the state of a relay that reaches the database and not the broker.
// It is not counted among those that share the buckets, so that these take them
// all over. Where there are none it keeps what it has and takes no more: when no
// relay reaches the broker, nothing moves.
type standby struct {
	on      bool
	tries   int       // standbys in a row without a verdict between them
	retryAt time.Time // when to try to take part again
	ended   time.Time // the one before; zero: there was none
}

const (
	partStandby = "standby"
	// maxStandbyPause bounds how rarely a relay tries to take part again.
	maxStandbyPause = time.Minute
)

const errStandby = health.Public("buckets are left to other relays, as the broker does not answer this one")

// patience is how long the broker may give no verdicts before the relay stands by.
func (k *keeper) patience() time.Duration { return k.ttl / 3 }

// judgeBroker begins a standby when the broker has given no verdicts for long,
// and ends it when it has given one or is worth another try.
func (k *keeper) judgeBroker(ctx context.Context) {
	k.lookAtCalls(ctx)
	away := k.relay.outage.lasts()
	switch {
	case k.draining: // it ends instead
	case k.standby.on && (away == 0 || k.worthATry(ctx)):
		k.endStandby(ctx)
	case !k.standby.on && away >= k.patience():
		k.beginStandby(ctx, away)
	}
}

// lookAtCalls finds an outage of which no call of Publish tells, as they do not
// return.
func (k *keeper) lookAtCalls(ctx context.Context) {
	if _, ok := k.relay.publisher.(Pinger); !ok || k.standby.on {
		return
	}
	limit := time.Now().Add(-k.patience())
	for _, l := range k.relay.lanes {
		since := l.waitsSince()
		if since.IsZero() || since.After(limit) || k.relay.outage.answeredSince(since) {
			continue
		}
		if err := k.ping(ctx); err != nil {
			k.relay.monitor.trouble(ctx, partBroker, err)
			k.relay.outage.beganAt(since)
		}
		return
	}
}

// ping asks the broker for a sign of life, no longer than leases can wait.
func (k *keeper) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(k.ttl/4, time.Second))
	defer cancel()
	return k.relay.ping(ctx)
}

func (k *keeper) beginStandby(ctx context.Context, away time.Duration) {
	s := &k.standby
	if k.relay.outage.answeredSince(s.ended) {
		s.tries = 0
	}
	pause := min(k.ttl<<min(s.tries, 10), maxStandbyPause)
	if _, ok := k.relay.publisher.(Pinger); ok && s.tries == 0 {
		pause = 0 // it will say when
	}
	s.on, s.retryAt = true, time.Now().Add(pause)
	s.tries++
	k.renewed = time.Time{} // that it does not count is told at once
	k.relay.log.WarnContext(ctx, "broker does not answer this relay: its buckets are left to any other", "for", away)
	k.relay.monitor.trouble(ctx, partStandby, fmt.Errorf("%w: %w", errStandby,
		cmp.Or(k.relay.monitor.cause(partBroker), ErrUnavailable)))
}

// worthATry reports whether a relay that stands by could publish: its publisher
// says that the broker answers or, where it says nothing, nobody has tried for
// long.
func (k *keeper) worthATry(ctx context.Context) bool {
	if time.Now().Before(k.standby.retryAt) {
		return false
	}
	if _, ok := k.relay.publisher.(Pinger); !ok {
		return k.count() == 0 // otherwise the lanes try
	}
	return k.ping(ctx) == nil
}

func (k *keeper) endStandby(ctx context.Context) {
	k.standby.on, k.standby.ended = false, time.Now()
	k.renewed = time.Time{}
	k.relay.outage.forget()
	k.relay.log.InfoContext(ctx, "relay takes part again")
	k.relay.monitor.trouble(ctx, partBroker, nil)
	k.relay.monitor.trouble(ctx, partStandby, nil)
}

// surplus returns how many buckets are to go to other relays.
func (k *keeper) surplus(others int) int {
	held := k.count()
	if others == 0 || held == 0 {
		return 0
	}
	for _, l := range k.relay.lanes {
		l.interrupt()
	}
	return held
}

// tellAlive has the relay counted for a TTL or, while it stands by or drains, not
// at all.
func (k *keeper) tellAlive(ctx context.Context, tx *sqldb.Tx, sign int64) error {
	query := "relay_alive"
	if k.standby.on || k.draining {
		query = "relay_standby"
	}
	_, err := tx.Exec(ctx, query, k.relay.cfg.Owner, hostname(), k.ttl.Milliseconds(), sign, k.relay.cfg.Producer)
	return err
}
