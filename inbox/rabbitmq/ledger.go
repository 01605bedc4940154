package rabbitmq

import (
	"slices"
	"sync"
)

// ledger knows which deliveries of one channel are unsettled, so that an
// acknowledgement with multiple=true never takes along a message somebody is
// still working on, and no tag is sent twice, which would close the channel.
type ledger struct {
	mu      sync.Mutex
	tags    []uint64            // unsettled, ascending: the order of delivery
	claimed map[uint64]struct{} // those of them that a Settle call is working on
	sealed  bool                // no more will be added
	dead    bool                // the channel is gone, and its tags with it
	empty   chan struct{}       // closed once sealed and empty, or dead
}

func newLedger() *ledger {
	return &ledger{claimed: make(map[uint64]struct{}), empty: make(chan struct{})}
}

// add notes a delivery that was handed out.
func (l *ledger) add(tag uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tags = append(l.tags, tag)
}

// claim reserves a tag for one settlement; false when it is settled already,
// claimed by another, or stale.
func (l *ledger) claim(tag uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.claimed[tag]; taken || l.dead {
		return false
	}
	if _, found := slices.BinarySearch(l.tags, tag); !found {
		return false
	}
	l.claimed[tag] = struct{}{}
	return true
}

// release gives a claim up; the delivery can be settled again.
func (l *ledger) release(tag uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.claimed, tag)
}

// settle sends frames that settle the claimed tags: one with multiple=true
// for those with no unsettled delivery before or between them, one each for
// the others. It keeps the lock while it sends, so that the order of frames is
// the order of the books.
func (l *ledger) settle(tags []uint64, send func(tag uint64, multiple bool) error) error {
	if len(tags) == 0 {
		return nil
	}
	tags = slices.Sorted(slices.Values(tags))
	l.mu.Lock()
	defer l.mu.Unlock()
	prefix := 0
	for prefix < len(tags) && prefix < len(l.tags) && tags[prefix] == l.tags[prefix] {
		prefix++
	}
	if prefix > 0 {
		if err := send(tags[prefix-1], prefix > 1); err != nil {
			return err
		}
	}
	for _, tag := range tags[prefix:] {
		if err := send(tag, false); err != nil {
			return err
		}
	}
	l.strike(tags, prefix)
	return nil
}

// strike removes settled tags, the first of which lead the books.
func (l *ledger) strike(tags []uint64, prefix int) {
	l.tags = l.tags[prefix:]
	for _, tag := range tags[prefix:] {
		if at, found := slices.BinarySearch(l.tags, tag); found {
			l.tags = slices.Delete(l.tags, at, at+1)
		}
	}
	for _, tag := range tags {
		delete(l.claimed, tag)
	}
	l.report()
}

// seal says that nothing more is handed out.
func (l *ledger) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
	l.report()
}

// kill says that the channel is gone: every tag is stale from here on.
func (l *ledger) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tags, l.sealed, l.dead = nil, true, true
	l.report()
}

func (l *ledger) report() {
	if !l.sealed || len(l.tags) > 0 {
		return
	}
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}
