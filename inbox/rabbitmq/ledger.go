package rabbitmq

import (
	"slices"
	"sync"
	"time"
)

// ledger knows which deliveries of one channel are unsettled, so that an
// acknowledgement with multiple=true never takes along a message somebody is
// still working on, and no tag is sent twice, which would close the channel.
//
// Workers finish out of order. With a large prefetch, acknowledgements behind
// a delivery that is still worked on are held for a moment, so that one frame
// takes many along: a frame for each costs the broker as much as delivering.
type ledger struct {
	ack      func(tag uint64, multiple bool) error
	freed    func(bytes int)
	mostHeld int

	mu      sync.Mutex
	tags    []uint64            // unsettled, ascending: the order of delivery
	sizes   map[uint64]int      // of those, in bytes
	claimed map[uint64]struct{} // those of them that are held or that a Settle call is working on
	held    []uint64            // those of them to acknowledge once nothing unsettled is before them, ascending
	overdue *time.Timer         // runs while any is held
	sealed  bool                // no more will be added
	dead    bool                // the channel is gone, and its tags with it
	empty   chan struct{}       // closed once sealed and empty, or dead
}

const (
	// holdLimit is how long an acknowledgement is held at most.
	holdLimit = 100 * time.Millisecond
	// spareDeliveries is how much of the prefetch held acknowledgements leave
	// to the workers. A smaller prefetch holds none.
	spareDeliveries = 100
)

// newLedger returns the ledger of a channel with the given prefetch, on which
// ack acknowledges. freed is told of the size of what was settled.
func newLedger(prefetch int, ack func(tag uint64, multiple bool) error, freed func(bytes int)) *ledger {
	l := &ledger{
		ack: ack, freed: freed, mostHeld: max(0, prefetch-spareDeliveries),
		sizes: make(map[uint64]int), claimed: make(map[uint64]struct{}), empty: make(chan struct{}),
	}
	l.overdue = time.AfterFunc(holdLimit, l.flush)
	l.overdue.Stop()
	return l
}

// add notes a delivery, and its size in bytes.
func (l *ledger) add(tag uint64, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tags = append(l.tags, tag)
	l.sizes[tag] = size
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

// acknowledge acknowledges claimed tags. Some of them may be held; what is lost
// of those with the connection comes again, as a duplicate.
func (l *ledger) acknowledge(tags []uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := slices.Sorted(slices.Values(slices.Concat(l.held, tags)))
	prefix := l.prefix(ready)
	if l.sealed || len(ready)-prefix > l.mostHeld {
		prefix = len(ready)
	}
	if err := l.send(ready[:prefix], l.ack); err != nil {
		return err
	}
	l.hold(ready[prefix:])
	return nil
}

// settle settles claimed tags at once.
func (l *ledger) settle(tags []uint64, send func(tag uint64, multiple bool) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.send(slices.Sorted(slices.Values(tags)), send)
}

// flush acknowledges what is held.
func (l *ledger) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
}

func (l *ledger) flushLocked() {
	// An error is the end of the channel.
	_ = l.send(l.held, l.ack)
	l.hold(nil)
}

func (l *ledger) hold(tags []uint64) {
	switch {
	case len(tags) == 0:
		l.overdue.Stop()
	case len(l.held) == 0:
		l.overdue.Reset(holdLimit)
	}
	l.held = tags
}

// prefix returns how many of the sorted tags have no other unsettled delivery
// before or between them.
func (l *ledger) prefix(tags []uint64) (n int) {
	for n < len(tags) && n < len(l.tags) && tags[n] == l.tags[n] {
		n++
	}
	return n
}

// send sends frames that settle sorted tags: one with multiple=true for the
// prefix, one each for the others. The lock is kept meanwhile, so that the
// order of frames is the order of the books.
func (l *ledger) send(tags []uint64, send func(tag uint64, multiple bool) error) error {
	prefix := l.prefix(tags)
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
	freed := 0
	for _, tag := range tags {
		freed += l.sizes[tag]
		delete(l.sizes, tag)
		delete(l.claimed, tag)
	}
	l.freed(freed)
	l.report()
}

// seal says that nothing more is handed out, and is held.
func (l *ledger) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
	l.sealed = true
	l.report()
}

// kill says that nothing more is sent: every tag is stale from here on.
func (l *ledger) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
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
