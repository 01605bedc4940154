package outbox

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// standby is the state of a relay that reaches the database but not the broker. It
// does not count when buckets are shared out, so that other relays take them over.
// If there are none, it keeps its buckets and takes no more: leases do not move when
// no relay reaches the broker.
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

// patience is how long the broker may give no verdicts before the relay stands by,
// or Drain ends.
func (m *leaseManager) patience() time.Duration { return m.ttl / 3 }

// judgeBroker begins a standby when the broker has given no verdicts for a while,
// and ends it when it has given one or should be tried again.
func (m *leaseManager) judgeBroker(ctx context.Context) {
	m.lookAtCalls(ctx)
	away := m.relay.outage.lasts()
	switch {
	case m.draining: // it ends instead
	case m.standby.on && (away == 0 || m.worthATry(ctx)):
		m.endStandby(ctx)
	case !m.standby.on && away >= m.patience():
		m.beginStandby(ctx, away)
	}
}

// lookAtCalls detects an outage during which calls of Publish do not return.
func (m *leaseManager) lookAtCalls(ctx context.Context) {
	if _, ok := m.relay.publisher.(Pinger); !ok || m.standby.on {
		return
	}
	limit := time.Now().Add(-m.patience())
	for _, l := range m.relay.lanes {
		since := l.waitsSince()
		if since.IsZero() || since.After(limit) || m.relay.outage.answeredSince(since) {
			continue
		}
		if err := m.ping(ctx); err != nil {
			m.relay.monitor.trouble(ctx, partBroker, err)
			m.relay.outage.beganAt(since)
		}
		return
	}
}

// ping pings the broker, with a timeout that lets leases be renewed in time.
func (m *leaseManager) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(m.ttl/4, time.Second))
	defer cancel()
	return m.relay.ping(ctx)
}

func (m *leaseManager) beginStandby(ctx context.Context, away time.Duration) {
	s := &m.standby
	if m.relay.outage.answeredSince(s.ended) {
		s.tries = 0
	}
	pause := min(m.ttl<<min(s.tries, 10), maxStandbyPause)
	if _, ok := m.relay.publisher.(Pinger); ok && s.tries == 0 {
		pause = 0 // it will say when
	}
	s.on, s.retryAt = true, time.Now().Add(pause)
	s.tries++
	m.renewed = time.Time{} // that it does not count is told at once
	m.relay.log.WarnContext(ctx, "broker does not answer this relay; its buckets are left to others", "for", away)
	m.relay.monitor.trouble(ctx, partStandby, fmt.Errorf("%w: %w", errStandby,
		cmp.Or(m.relay.monitor.cause(partBroker), ErrUnavailable)))
}

// worthATry reports whether a relay that stands by should try to publish again: Ping
// succeeds or, if the publisher is not a Pinger, it has not tried for a while.
func (m *leaseManager) worthATry(ctx context.Context) bool {
	if time.Now().Before(m.standby.retryAt) {
		return false
	}
	if _, ok := m.relay.publisher.(Pinger); !ok {
		return m.count() == 0 // otherwise the lanes try
	}
	return m.ping(ctx) == nil
}

func (m *leaseManager) endStandby(ctx context.Context) {
	m.standby.on, m.standby.ended = false, time.Now()
	m.renewed = time.Time{}
	m.relay.outage.forget()
	m.relay.log.InfoContext(ctx, "relay takes buckets again")
	m.relay.monitor.trouble(ctx, partBroker, nil)
	m.relay.monitor.trouble(ctx, partStandby, nil)
}

// surplus returns how many buckets to leave to other relays.
func (m *leaseManager) surplus(others int) int {
	held := m.count()
	if others == 0 || held == 0 {
		return 0
	}
	for _, l := range m.relay.lanes {
		l.interrupt()
	}
	return held
}

// tellAlive has the relay counted for a TTL or, while it stands by or drains, not
// at all.
func (m *leaseManager) tellAlive(ctx context.Context, tx *sqldb.Tx, sign int64) error {
	query := "relay_alive"
	if m.standby.on || m.draining {
		query = "relay_standby"
	}
	_, err := tx.Exec(ctx, query, m.relay.cfg.Owner, hostname(), m.ttl.Milliseconds(), sign, m.relay.cfg.Producer, libraryVersion())
	return err
}
