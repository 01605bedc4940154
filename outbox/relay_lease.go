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

// lease is the right to publish one bucket, as the database knows it.
type lease struct {
	Bucket int   `db:"bucket" json:"bucket"`
	Token  int64 `db:"token" json:"token"`
}

// keeper holds the relay's leases: it renews them, takes its fair share of
// them and gives up what is more, or all when the relay stands by. It assigns
// each to a lane, and takes it away from there before it gives it up. Expiry is
// judged by the database's clock, and by what is seen not to change; the
// keeper's own deadlines are measured from before the statement that renewed,
// so that they pass earlier than the database's.
type keeper struct {
	relay *Relay
	ttl   time.Duration
	// returned takes leases that a lane has nothing in flight for any more.
	returned chan []lease

	mu   sync.Mutex
	held map[int]*holding // by bucket

	signs signs
	urge  chan struct{} // asks for a look now

	// draining: the relay drains, and so takes every lease that is free and is not
	// counted for shares. It is set while the keeper does not run.
	draining bool

	// The rest belongs to the keeper's goroutine.
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

// holding is a lease on this side.
type holding struct {
	lease
	lane  *lane
	until time.Time // treated as ours before this; the monotonic clock decides
}

const (
	// leaseCheckInterval is how often the keeper looks for relays that came or went.
	leaseCheckInterval = time.Second
	// farewellTimeout bounds giving leases back at shutdown.
	farewellTimeout = 5 * time.Second
)

func newKeeper(r *Relay) *keeper {
	return &keeper{
		relay: r, ttl: r.cfg.LeaseTTL, returned: make(chan []lease, buckets), held: make(map[int]*holding),
		urge: make(chan struct{}, 1),
	}
}

// run keeps leases until ctx ends. Once taking has ended it takes no more.
func (k *keeper) run(ctx, taking context.Context) {
	check := min(k.ttl/3, leaseCheckInterval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	k.standby, k.observed, k.file = standby{}, make(observer), databaseFile{}
	k.inspected, k.clockAt, k.leapt, k.stuck, k.signedOff = time.Time{}, time.Time{}, time.Time{}, time.Time{}, true
	for {
		select {
		case <-ctx.Done():
			return
		case leases := <-k.returned:
			if err := k.giveUp(ctx, leases); err != nil { // what else is wrong still is
				k.report(ctx, err)
			}
			k.relay.monitor.holds(k.count())
			continue
		case <-k.urge:
		case <-timer.C:
		}
		err := k.tend(ctx, taking)
		if ctx.Err() != nil {
			return
		}
		k.report(ctx, err)
		if err != nil {
			failures++
			timer.Reset(min(retryPause(failures), check))
			continue
		}
		failures = 0
		k.relay.monitor.started()
		timer.Reset(check)
	}
}

func (k *keeper) report(ctx context.Context, err error) {
	k.relay.monitor.trouble(ctx, partLeases, sqldb.Explain(err))
	k.relay.monitor.holds(k.count())
}

// tend renews when a quarter of the TTL has passed, looks at what there is, and
// brings the number of leases to the relay's share.
func (k *keeper) tend(ctx, taking context.Context) error {
	if taking.Err() == nil {
		k.judgeBroker(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, max(k.ttl/2, time.Second))
	defer cancel()
	if err := k.inspect(ctx); err != nil {
		return err
	}
	if k.signedOff { // it is told among the living once it may take part
		if _, err := k.look(ctx); err != nil {
			return err
		}
	}
	// What the relay tells of itself comes before it looks at others: of two that
	// begin to stand by, one at least sees the other.
	if time.Since(k.renewed) >= k.ttl/4 {
		if err := k.renew(ctx); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	}
	s, err := k.look(ctx)
	if err != nil || taking.Err() != nil {
		return err
	}
	return k.balance(ctx, s, time.Now())
}

// renew tells that the relay lives, forgets those that have not for long, and
// prolongs its leases, in one transaction. What the database does not confirm is
// lost.
func (k *keeper) renew(ctx context.Context) error {
	leases := k.leases()
	sent := time.Now()
	generation := k.relay.generations.now()
	sign := newToken()
	var found []int64
	var confirmed []struct {
		Bucket  int  `db:"bucket"`
		Renewed bool `db:"renewed"`
	}
	err := k.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := tx.Select(ctx, &found, "relay_sign", k.relay.cfg.Owner); err != nil {
			return err
		}
		if err := k.tellAlive(ctx, tx, sign); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "relay_forget", k.relay.cfg.Owner); err != nil {
			return err
		}
		return tx.Select(ctx, &confirmed, "lease_renew", jsonText(leases), k.ttl.Milliseconds())
	})
	if err == nil && !k.signs.current(append(found, 0)[0]) {
		k.relay.startOver(ctx, generation, k.strangeSign(), true)
	}
	k.signs.store(sign, err)
	if err != nil {
		return err
	}
	k.renewed, k.signedOff = sent, false
	ours := make(map[int]bool, len(confirmed)) // renewed, or not
	for _, c := range confirmed {
		ours[c.Bucket] = c.Renewed
	}
	lost, locked := k.confirm(leases, ours, sent.Add(k.ttl))
	if lost > 0 {
		k.relay.log.WarnContext(ctx, "leases were lost: they ran out, and another relay took them", "buckets", lost)
	}
	if locked > 0 {
		k.renewed = time.Time{} // again with the next look
		return fmt.Errorf("%d leases cannot be renewed: %w: %s", locked, errLocked, k.relay.holders(ctx, "lease_holders"))
	}
	return nil
}

// confirm keeps the leases that are ours still until the given time, and takes
// away the others. Those that are ours and were not renewed stay as they are.
func (k *keeper) confirm(leases []lease, ours map[int]bool, until time.Time) (lost, locked int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range leases {
		h := k.held[l.Bucket]
		renewed, held := ours[l.Bucket]
		switch {
		case h == nil || h.Token != l.Token:
		case renewed:
			h.until = until
		case held:
			locked++
		default:
			lost++
			delete(k.held, l.Bucket)
			h.lane.drop(l)
		}
	}
	return lost, locked
}

// take asks for n of the free leases, gives each to the lane with the fewest,
// and returns how many it got.
func (k *keeper) take(ctx context.Context, n int, free []seenLease, stale int) (int, error) {
	sent := time.Now()
	var taken []lease
	err := k.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &taken, "lease_take", n, jsonText(free), k.relay.cfg.Owner, newToken(), k.ttl.Milliseconds())
	})
	if err != nil {
		return 0, err
	}
	k.mu.Lock()
	for _, l := range taken {
		if h := k.held[l.Bucket]; h != nil { // it had run out without our noticing
			h.lane.drop(h.lease)
		}
		lane := k.idlest()
		k.held[l.Bucket] = &holding{lease: l, lane: lane, until: sent.Add(k.ttl)}
		lane.add(l)
	}
	held := len(k.held)
	k.mu.Unlock()
	if len(taken) > 0 {
		k.relay.log.InfoContext(ctx, "leases taken", "buckets", len(taken), "held", held)
	}
	if stale > 0 && len(taken) > 0 {
		k.relay.log.WarnContext(ctx, "leases were not renewed for longer than they last, although they have not run out by the database's clock: was that set back?", "buckets", stale)
	}
	return len(taken), nil
}

// giveUp frees leases in the database. Ones that cannot be freed run out.
func (k *keeper) giveUp(ctx context.Context, leases []lease) error {
	k.mu.Lock()
	for _, l := range leases {
		if h := k.held[l.Bucket]; h != nil && h.Token == l.Token {
			delete(k.held, l.Bucket)
		}
	}
	held := len(k.held)
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	if err := k.relay.exec(ctx, "lease_give_up", jsonText(leases)); err != nil {
		return fmt.Errorf("give up: %w", err)
	}
	k.relay.log.InfoContext(ctx, "leases given up", "buckets", len(leases), "held", held)
	return nil
}

// leave gives up every lease whose lane has returned, and takes the relay off
// the list of the living. It runs after everything else has ended.
func (k *keeper) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	var leases []lease
	for _, l := range k.relay.lanes {
		leases = append(leases, l.surrender()...)
	}
	err := k.giveUp(ctx, append(leases, k.drainReturned()...))
	if err == nil && k.relay.cfg.Producer != "" {
		err = k.prove(ctx) // a Drain may be over before the keeper looks again
	}
	if err == nil {
		err = k.relay.exec(ctx, "lease_leave", k.relay.cfg.Owner)
	}
	if err != nil {
		k.relay.log.WarnContext(ctx, "leases could not be given back; they run out", "error", err)
	}
	k.mu.Lock()
	clear(k.held)
	k.mu.Unlock()
	k.renewed = time.Time{}
	k.signs.adopt(0)
	k.relay.monitor.holds(0)
}

// hurry asks for a look now.
func (k *keeper) hurry() {
	select {
	case k.urge <- struct{}{}:
	default: // it is asked already
	}
}

func (k *keeper) drainReturned() (leases []lease) {
	for {
		select {
		case more := <-k.returned:
			leases = append(leases, more...)
		default:
			return leases
		}
	}
}

// valid reports whether l is ours as far as this process can know.
func (k *keeper) valid(l lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[l.Bucket]
	return h != nil && h.Token == l.Token && time.Now().Before(h.until)
}

// laneOf returns the lane that serves bucket, nil where it is not ours.
func (k *keeper) laneOf(bucket int) *lane {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[bucket]; h != nil {
		return h.lane
	}
	return nil
}

func (k *keeper) leases() []lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	leases := make([]lease, 0, len(k.held))
	for _, h := range k.held {
		leases = append(leases, h.lease)
	}
	return leases
}

// buckets returns the buckets that are ours.
func (k *keeper) buckets() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.AppendSeq(make([]int, 0, len(k.held)), maps.Keys(k.held))
}

func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
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
