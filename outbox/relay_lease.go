package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// lease is the right to publish one bucket, as recorded in the database.
type lease struct {
	Bucket int   `db:"bucket" json:"bucket"`
	Token  int64 `db:"token" json:"token"`
}

// leaseManager holds the relay's leases: it renews them, takes its fair share of
// them and gives up what is more, or all when the relay stands by. It assigns
// each to a lane, and takes it away from there before it gives it up. Expiry is
// judged by the database's clock, and by what is seen not to change; the
// lease manager's own deadlines are measured from before the statement that renewed,
// so that they pass earlier than the database's.
type leaseManager struct {
	relay *Relay
	ttl   time.Duration
	// returned receives leases for which a lane has nothing in flight any more.
	returned chan []lease

	mu  sync.Mutex
	own map[int]*ownLease // by bucket

	signs signs
	urge  chan struct{} // asks for a look now

	// draining: the relay drains, and so takes every lease that is free and is not
	// counted for shares. It is set while the lease manager does not run.
	draining bool

	// The rest belongs to the lease manager's goroutine.
	renewed   time.Time // when the last renewal was sent
	inspected time.Time // when schema and rights were looked at
	standby   standby
	observed  observer
	file      databaseFile
	clock     int64     // of the database, in microseconds, as of
	clockAt   time.Time // this moment
	leapt     time.Time // when that clock was last seen to be set ahead
	stuck     time.Time // since when free leases could not be taken; zero: they could
	signedOff bool      // the relay is not on the list of the living
}

// ownLease is a lease on this side.
type ownLease struct {
	lease
	lane  *lane
	until time.Time // treated as ours before this; the monotonic clock decides
}

const (
	// leaseCheckInterval is how often the lease manager looks for relays that came or went.
	leaseCheckInterval = time.Second
	// farewellTimeout bounds giving leases back at shutdown.
	farewellTimeout = 5 * time.Second
)

func newLeaseManager(r *Relay) *leaseManager {
	return &leaseManager{
		relay: r, ttl: r.cfg.LeaseTTL, returned: make(chan []lease, buckets), own: make(map[int]*ownLease),
		urge: make(chan struct{}, 1),
	}
}

// run keeps leases until ctx ends. Once taking has ended it takes no more.
func (m *leaseManager) run(ctx, taking context.Context) {
	check := min(m.ttl/3, leaseCheckInterval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	m.standby, m.observed, m.file = standby{}, make(observer), databaseFile{}
	m.inspected, m.clockAt, m.leapt, m.stuck, m.signedOff = time.Time{}, time.Time{}, time.Time{}, time.Time{}, true
	for {
		select {
		case <-ctx.Done():
			return
		case leases := <-m.returned:
			if err := m.giveUp(ctx, leases); err != nil { // what else is wrong still is
				m.report(ctx, err)
			}
			m.relay.monitor.holds(m.count())
			continue
		case <-m.urge:
		case <-timer.C:
		}
		err := m.tend(ctx, taking)
		if ctx.Err() != nil {
			return
		}
		m.report(ctx, err)
		if err != nil {
			failures++
			timer.Reset(min(retryPause(failures), check))
			continue
		}
		failures = 0
		m.relay.monitor.started()
		timer.Reset(check)
	}
}

func (m *leaseManager) report(ctx context.Context, err error) {
	m.relay.monitor.trouble(ctx, partLeases, sqldb.Explain(err))
	m.relay.monitor.holds(m.count())
}

// tend renews when a quarter of the TTL has passed, looks at what there is, and
// brings the number of leases to the relay's share.
func (m *leaseManager) tend(ctx, taking context.Context) error {
	if taking.Err() == nil {
		m.judgeBroker(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, max(m.ttl/2, time.Second))
	defer cancel()
	if err := m.inspect(ctx); err != nil {
		return err
	}
	if m.signedOff { // it is told among the living once it may take part
		if _, err := m.look(ctx); err != nil {
			return err
		}
	}
	// What the relay tells of itself comes before it looks at others: of two that
	// begin to stand by, one at least sees the other.
	if time.Since(m.renewed) >= m.ttl/4 {
		if err := m.renew(ctx); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	}
	s, err := m.look(ctx)
	if err != nil || taking.Err() != nil {
		return err
	}
	return m.balance(ctx, s, time.Now())
}

// renew tells that the relay lives, forgets those that have not for long, and
// prolongs its leases, in one transaction. What the database does not confirm is
// lost.
func (m *leaseManager) renew(ctx context.Context) error {
	leases := m.leases()
	sent := time.Now()
	generation := m.relay.generations.now()
	sign := newToken()
	m.signs.expect(sign)
	var found []int64
	var confirmed []struct {
		Bucket  int  `db:"bucket"`
		Renewed bool `db:"renewed"`
	}
	err := m.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := tx.Select(ctx, &found, "relay_sign", m.relay.cfg.Owner); err != nil {
			return err
		}
		if err := m.tellAlive(ctx, tx, sign); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "relay_forget", m.relay.cfg.Owner); err != nil {
			return err
		}
		return tx.Select(ctx, &confirmed, "lease_renew", jsonText(leases), m.ttl.Milliseconds())
	})
	if err != nil {
		return err
	}
	if !m.signs.current(append(found, 0)[0]) {
		m.relay.startOver(ctx, generation, m.strangeSign(), true)
	}
	m.signs.stored(sign)
	m.renewed, m.signedOff = sent, false
	ours := make(map[int]bool, len(confirmed)) // renewed, or not
	for _, c := range confirmed {
		ours[c.Bucket] = c.Renewed
	}
	lost, locked := m.confirm(leases, ours, sent.Add(m.ttl))
	if lost > 0 {
		m.relay.log.WarnContext(ctx, "leases lost: they expired, and another relay took them", "buckets", lost)
	}
	if locked > 0 {
		m.renewed = time.Time{} // again with the next look
		return fmt.Errorf("%d leases cannot be renewed: %w: %s", locked, errLocked, m.relay.holders(ctx, "lease_holders"))
	}
	return nil
}

// confirm keeps the leases that are ours still until the given time, and takes
// away the others. Those that are ours and were not renewed stay as they are.
func (m *leaseManager) confirm(leases []lease, ours map[int]bool, until time.Time) (lost, locked int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		h := m.own[l.Bucket]
		renewed, held := ours[l.Bucket]
		switch {
		case h == nil || h.Token != l.Token:
		case renewed:
			h.until = until
		case held:
			locked++
		default:
			lost++
			delete(m.own, l.Bucket)
			h.lane.drop(l)
		}
	}
	return lost, locked
}

// take asks for n of the free leases, gives each to the lane with the fewest,
// and returns how many it got.
func (m *leaseManager) take(ctx context.Context, n int, free []seenLease, stale int) (int, error) {
	sent := time.Now()
	var taken []lease
	err := m.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &taken, "lease_take", n, jsonText(free), m.relay.cfg.Owner, newToken(), m.ttl.Milliseconds())
	})
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	for _, l := range taken {
		if h := m.own[l.Bucket]; h != nil { // it had run out without our noticing
			h.lane.drop(h.lease)
		}
		lane := m.idlest()
		m.own[l.Bucket] = &ownLease{lease: l, lane: lane, until: sent.Add(m.ttl)}
		lane.add(l)
	}
	held := len(m.own)
	m.mu.Unlock()
	if len(taken) > 0 {
		m.relay.log.InfoContext(ctx, "leases taken", "buckets", len(taken), "held", held)
	}
	if stale > 0 && len(taken) > 0 {
		m.relay.log.WarnContext(ctx, "leases were not renewed for longer than their TTL, although they have not expired by the database's clock; it may have been set back", "buckets", stale)
	}
	return len(taken), nil
}

// giveUp frees leases in the database. Ones that cannot be freed run out.
func (m *leaseManager) giveUp(ctx context.Context, leases []lease) error {
	m.mu.Lock()
	for _, l := range leases {
		if h := m.own[l.Bucket]; h != nil && h.Token == l.Token {
			delete(m.own, l.Bucket)
		}
	}
	held := len(m.own)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	if err := m.relay.exec(ctx, "lease_give_up", jsonText(leases)); err != nil {
		return fmt.Errorf("give up: %w", err)
	}
	m.relay.log.InfoContext(ctx, "leases released", "buckets", len(leases), "held", held)
	return nil
}

// leave gives up every lease whose lane has returned, and takes the relay off
// the list of the living. It runs after everything else has ended.
func (m *leaseManager) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	var leases []lease
	for _, l := range m.relay.lanes {
		leases = append(leases, l.surrender()...)
	}
	err := m.giveUp(ctx, append(leases, m.drainReturned()...))
	if err == nil && m.relay.cfg.Producer != "" {
		err = m.prove(ctx) // a Drain may be over before the lease manager looks again
	}
	if err == nil {
		err = m.relay.exec(ctx, "lease_leave", m.relay.cfg.Owner)
	}
	if err != nil {
		m.relay.log.WarnContext(ctx, "leases could not be released; they will expire", "error", err)
	}
	m.mu.Lock()
	clear(m.own)
	m.mu.Unlock()
	m.renewed = time.Time{}
	m.signs.adopt(0)
	m.relay.monitor.holds(0)
}

// hurry makes the lease manager look now.
func (m *leaseManager) hurry() {
	select {
	case m.urge <- struct{}{}:
	default: // it is asked already
	}
}

func (m *leaseManager) drainReturned() (leases []lease) {
	for {
		select {
		case more := <-m.returned:
			leases = append(leases, more...)
		default:
			return leases
		}
	}
}

// valid reports whether l is ours as far as this process can know.
func (m *leaseManager) valid(l lease) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.own[l.Bucket]
	return h != nil && h.Token == l.Token && time.Now().Before(h.until)
}

// laneOf returns the lane that serves bucket, nil where it is not ours.
func (m *leaseManager) laneOf(bucket int) *lane {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.own[bucket]; h != nil {
		return h.lane
	}
	return nil
}

func (m *leaseManager) leases() []lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	leases := make([]lease, 0, len(m.own))
	for _, h := range m.own {
		leases = append(leases, h.lease)
	}
	return leases
}

// buckets returns the buckets that are ours.
func (m *leaseManager) buckets() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.AppendSeq(make([]int, 0, len(m.own)), maps.Keys(m.own))
}

func (m *leaseManager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.own)
}

// jsonText is a list as a parameter. What is passed here can always be encoded.
func jsonText[T any](list []T) string {
	if list == nil {
		return "[]"
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("outbox: %v", err))
	}
	return string(text)
}
