package rabbitmq

import (
	"slices"
	"sync"
	"time"
)

// unacked are the deliveries of one channel that are not settled. It makes sure
// that an acknowledgement with multiple=true never covers a message that is still
// being handled, and that no tag is sent twice, which would close the channel.
//
// Workers finish out of order. With a large prefetch, acknowledgements behind
// a delivery that is still being handled are held for a moment, so that one frame
// covers many: a frame for each costs the broker as much as delivering.
type unacked struct {
	ack      func(tag uint64, multiple bool) error
	freed    func(bytes int)
	mostHeld int

	mu       sync.Mutex
	tags     []uint64            // unsettled, ascending: the order of delivery
	sizes    map[uint64]int      // of those, in bytes
	reserved map[uint64]struct{} // those of them that are held or that a Settle call is working on
	held     []uint64            // those of them to acknowledge once nothing unsettled is before them, ascending
	overdue  *time.Timer         // runs while any is held
	sealed   bool                // no more will be added
	dead     bool                // the channel is gone, and its tags with it
	empty    chan struct{}       // closed once sealed and empty, or dead
}

const (
	// holdLimit is how long an acknowledgement is held at most.
	holdLimit = 100 * time.Millisecond
	// spareDeliveries is how much of the prefetch held acknowledgements leave to
	// the workers, or half of it if that is more. A smaller prefetch holds none.
	spareDeliveries = 100
)

// newUnacked is for a channel with the given prefetch, on which ack
// acknowledges. freed is called with the size of what was settled.
func newUnacked(prefetch int, ack func(tag uint64, multiple bool) error, freed func(bytes int)) *unacked {
	u := &unacked{
		ack: ack, freed: freed, mostHeld: max(0, prefetch-max(spareDeliveries, prefetch/2)),
		sizes: make(map[uint64]int), reserved: make(map[uint64]struct{}), empty: make(chan struct{}),
	}
	u.overdue = time.AfterFunc(holdLimit, u.flush)
	u.overdue.Stop()
	return u
}

// add notes a delivery, and its size in bytes.
func (u *unacked) add(tag uint64, size int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tags = append(u.tags, tag)
	u.sizes[tag] = size
}

// none reports whether all deliveries are settled.
func (u *unacked) none() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.tags) == 0
}

// reserve reserves a tag for one settlement; false when it is settled already,
// reserved by another, or stale.
func (u *unacked) reserve(tag uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, taken := u.reserved[tag]; taken || u.dead {
		return false
	}
	if _, found := slices.BinarySearch(u.tags, tag); !found {
		return false
	}
	u.reserved[tag] = struct{}{}
	return true
}

// release ends a reservation; the delivery can be settled again.
func (u *unacked) release(tag uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.reserved, tag)
}

// acknowledge acknowledges reserved tags. Some of them may be held; those lost
// with the connection are redelivered, as duplicates.
func (u *unacked) acknowledge(tags []uint64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	ready := slices.Sorted(slices.Values(slices.Concat(u.held, tags)))
	prefix := u.prefix(ready)
	if u.sealed || len(ready)-prefix > u.mostHeld {
		prefix = len(ready)
	}
	if err := u.send(ready[:prefix], u.ack); err != nil {
		return err
	}
	u.hold(ready[prefix:])
	return nil
}

// settle settles reserved tags at once.
func (u *unacked) settle(tags []uint64, send func(tag uint64, multiple bool) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.send(slices.Sorted(slices.Values(tags)), send)
}

// flush acknowledges what is held.
func (u *unacked) flush() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flushLocked()
}

func (u *unacked) flushLocked() {
	// An error is the end of the channel.
	_ = u.send(u.held, u.ack)
	u.hold(nil)
}

func (u *unacked) hold(tags []uint64) {
	switch {
	case len(tags) == 0:
		u.overdue.Stop()
	case len(u.held) == 0:
		u.overdue.Reset(holdLimit)
	}
	u.held = tags
}

// prefix returns how many of the sorted tags have no other unsettled delivery
// before or between them.
func (u *unacked) prefix(tags []uint64) (n int) {
	for n < len(tags) && n < len(u.tags) && tags[n] == u.tags[n] {
		n++
	}
	return n
}

// send sends frames that settle sorted tags: one with multiple=true for the
// prefix, one each for the others. The lock is kept meanwhile, so that
// frames are sent in the order in which tags are removed.
func (u *unacked) send(tags []uint64, send func(tag uint64, multiple bool) error) error {
	prefix := u.prefix(tags)
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
	u.remove(tags, prefix)
	return nil
}

// remove removes settled tags, prefix of which are the first of u.tags.
func (u *unacked) remove(tags []uint64, prefix int) {
	u.tags = u.tags[prefix:]
	for _, tag := range tags[prefix:] {
		if at, found := slices.BinarySearch(u.tags, tag); found {
			u.tags = slices.Delete(u.tags, at, at+1)
		}
	}
	freed := 0
	for _, tag := range tags {
		freed += u.sizes[tag]
		delete(u.sizes, tag)
		delete(u.reserved, tag)
	}
	u.freed(freed)
	u.report()
}

// seal says that no delivery will be added, and sends what is held.
func (u *unacked) seal() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flushLocked()
	u.sealed = true
	u.report()
}

// kill says that the channel is gone: every tag is stale from here on.
func (u *unacked) kill() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flushLocked()
	u.tags, u.sealed, u.dead = nil, true, true
	u.report()
}

func (u *unacked) report() {
	if !u.sealed || len(u.tags) > 0 {
		return
	}
	select {
	case <-u.empty:
	default:
		close(u.empty)
	}
}
