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
// them and gives up what is more, or all when the relay stands by. It assigns each to a lane, and takes it away
// from there before it gives it up. All expiry is judged by the database's
// clock; the keeper's own deadlines are measured from before the statement
// that renewed, so that they pass earlier than the database's.
type keeper struct {
	relay *Relay
	ttl   time.Duration
	// returned takes leases that a lane has nothing in flight for any more.
	returned chan []lease

	mu   sync.Mutex
	held map[int]*holding // by bucket

	// The rest belongs to the keeper's goroutine.
	renewed time.Time // when the last renewal was sent
	standby standby
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
	return &keeper{relay: r, ttl: r.cfg.LeaseTTL, returned: make(chan []lease, buckets), held: make(map[int]*holding)}
}

// run keeps leases until ctx ends. Once taking has ended it takes no more.
func (k *keeper) run(ctx, taking context.Context) {
	check := min(k.ttl/3, leaseCheckInterval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	k.standby = standby{}
	for {
		select {
		case <-ctx.Done():
			return
		case leases := <-k.returned:
			k.report(ctx, k.giveUp(ctx, leases))
			continue
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
	k.relay.monitor.trouble(ctx, "leases", sqldb.Explain(err))
	k.relay.monitor.holds(k.count())
}

// tend renews when a quarter of the TTL has passed and brings the number of
// leases to the relay's share.
func (k *keeper) tend(ctx, taking context.Context) error {
	if taking.Err() == nil {
		k.judgeBroker(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, max(k.ttl/2, time.Second))
	defer cancel()
	if time.Since(k.renewed) >= k.ttl/4 {
		if err := k.renew(ctx); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	}
	if taking.Err() != nil {
		return nil
	}
	var found struct {
		Others int `db:"others"`
		Before int `db:"before"`
		Free   int `db:"free"`
	}
	owner := k.relay.cfg.Owner
	err := k.relay.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &found, "lease_check", owner, owner) })
	if err != nil {
		return fmt.Errorf("look for other relays: %w", err)
	}
	missing := share(found.Others+1, found.Before) - k.count()
	if k.standby.on {
		missing = -k.surplus(found.Others)
	}
	switch {
	case missing < 0:
		k.release(-missing)
	case missing > 0 && found.Free > 0:
		if err := k.take(ctx, min(missing, found.Free)); err != nil {
			return fmt.Errorf("take: %w", err)
		}
	}
	return nil
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

// renew tells that the relay lives, forgets those that have not for long, and
// prolongs its leases, in one transaction.
// What the database does not confirm is lost.
func (k *keeper) renew(ctx context.Context) error {
	leases := k.leases()
	sent := time.Now()
	owner, ttl := k.relay.cfg.Owner, k.ttl.Milliseconds()
	var confirmed []int
	err := k.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := k.tellAlive(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "relay_forget", owner); err != nil {
			return err
		}
		return tx.Select(ctx, &confirmed, "lease_renew", jsonText(leases), ttl)
	})
	if err != nil {
		return err
	}
	k.renewed = sent
	k.mu.Lock()
	kept := make(map[int]bool, len(confirmed))
	for _, bucket := range confirmed {
		kept[bucket] = true
	}
	lost := 0
	for _, l := range leases {
		h := k.held[l.Bucket]
		switch {
		case h == nil || h.Token != l.Token:
		case kept[l.Bucket]:
			h.until = sent.Add(k.ttl)
		default:
			lost++
			delete(k.held, l.Bucket)
			h.lane.drop(l)
		}
	}
	k.mu.Unlock()
	if lost > 0 {
		k.relay.log.WarnContext(ctx, "leases were lost: they ran out, and another relay took them", "buckets", lost)
	}
	return nil
}

// take asks for n leases that nobody holds and gives each to the lane with the
// fewest.
func (k *keeper) take(ctx context.Context, n int) error {
	sent := time.Now()
	var taken []lease
	err := k.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &taken, "lease_take", n, k.relay.cfg.Owner, k.ttl.Milliseconds())
	})
	if err != nil {
		return err
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
	return nil
}

// idlest returns the lane with the fewest buckets; the caller holds k.mu.
func (k *keeper) idlest() *lane {
	counts := make(map[*lane]int)
	for _, h := range k.held {
		counts[h.lane]++
	}
	best := k.relay.lanes[0]
	for _, l := range k.relay.lanes[1:] {
		if counts[l] < counts[best] {
			best = l
		}
	}
	return best
}

// release asks the lanes with the most buckets to return n, which they do when
// they have nothing in flight for them.
func (k *keeper) release(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	staying := make(map[*lane][]lease)
	leaving := 0
	for _, h := range k.held {
		if h.lane.isLeaving(h.lease) {
			leaving++
		} else {
			staying[h.lane] = append(staying[h.lane], h.lease)
		}
	}
	for ; leaving < n; leaving++ {
		most := k.relay.lanes[0]
		for _, l := range k.relay.lanes {
			if len(staying[l]) > len(staying[most]) {
				most = l
			}
		}
		last := len(staying[most]) - 1
		most.release(staying[most][last])
		staying[most] = staying[most][:last]
	}
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
	k.relay.monitor.holds(0)
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
