package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// balance takes and gives up leases according to what was seen.
func (m *leaseManager) balance(ctx context.Context, s sighting, now time.Time) error {
	others, before := m.others(s, now)
	free, stale := m.free(s, now)
	m.observed.prune(s)
	missing := share(others+1, before) - m.count()
	switch {
	case m.draining:
		missing = buckets - m.count()
	case m.standby.on:
		missing = -m.surplus(others)
	}
	taken := 0
	switch want := min(missing, len(free)); {
	case missing < 0:
		m.release(-missing)
	case want > 0:
		var err error
		if taken, err = m.take(ctx, want, free, stale); err != nil {
			return fmt.Errorf("take: %w", err)
		}
		if err := m.judgeStuck(ctx, want-taken); err != nil {
			return err
		}
	default:
		m.stuck = time.Time{}
	}
	m.relay.monitor.unserved(len(free) - taken)
	return nil
}

// errLocked, for strangers: sessions keep what the relay needs.
const errLocked = health.Public("locked by other sessions")

// stuckAfter is for how long leases may be locked while nobody holds them.
const stuckAfter = 3 * time.Second

// judgeStuck says when leases that nobody holds cannot be taken for long, and
// because of whom.
func (m *leaseManager) judgeStuck(ctx context.Context, left int) error {
	switch {
	case left <= 0:
		m.stuck = time.Time{}
		return nil
	case m.stuck.IsZero():
		m.stuck = time.Now()
	}
	if time.Since(m.stuck) < stuckAfter {
		return nil
	}
	return fmt.Errorf("%d leases are held by no relay and cannot be taken: %w: %s", left, errLocked, m.relay.holders(ctx, "lease_holders"))
}

// share is how many of the buckets belong to the relay that has the given
// number of others before it in the order of names. The shares add up.
func share(relays, before int) int {
	n := buckets / relays
	if before < buckets%relays {
		n++
	}
	return n
}

// idlest returns the lane with the fewest buckets; the caller holds m.mu.
func (m *leaseManager) idlest() *lane {
	counts := make(map[*lane]int)
	for _, h := range m.own {
		counts[h.lane]++
	}
	best := m.relay.lanes[0]
	for _, l := range m.relay.lanes[1:] {
		if counts[l] < counts[best] {
			best = l
		}
	}
	return best
}

// release asks the lanes with the most buckets to return n, which they do when
// they have nothing in flight for them.
func (m *leaseManager) release(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	staying := make(map[*lane][]lease)
	leaving := 0
	for _, h := range m.own {
		if h.lane.isLeaving(h.lease) {
			leaving++
		} else {
			staying[h.lane] = append(staying[h.lane], h.lease)
		}
	}
	for ; leaving < n; leaving++ {
		most := m.relay.lanes[0]
		for _, l := range m.relay.lanes {
			if len(staying[l]) > len(staying[most]) {
				most = l
			}
		}
		last := len(staying[most]) - 1
		most.release(staying[most][last])
		staying[most] = staying[most][:last]
	}
}
