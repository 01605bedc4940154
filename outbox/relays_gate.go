package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// slotTime is how long a statement occupies a slot. If it takes longer, it continues
// without one.
const slotTime = time.Second

// gate bounds the connections to databases that several relays use at once. Each
// statement of a relay passes it. A nil gate lets everything through.
type gate struct {
	slots    chan struct{}
	slotTime time.Duration
	// last is held by the one statement of a relay that may start while others of it
	// exceed slotTime. So a database that does not answer occupies one slot at most,
	// and only from time to time.
	last     chan struct{}
	overruns atomic.Int64
}

// newGates returns n gates that share a number of slots.
func newGates(n, slots int, slotTime time.Duration) []*gate {
	shared := make(chan struct{}, slots)
	gates := make([]*gate, n)
	for i := range gates {
		gates[i] = &gate{slots: shared, slotTime: slotTime, last: make(chan struct{}, 1)}
	}
	return gates
}

// enter waits for a slot; leave frees it.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	isLast := false
	if g.overruns.Load() > 0 {
		select {
		case g.last <- struct{}{}:
			isLast = true
		case <-ctx.Done():
			return nil, fmt.Errorf("other statements have had no answer of the database for more than %v: %w", g.slotTime, context.Cause(ctx))
		}
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		if isLast {
			<-g.last
		}
		return nil, fmt.Errorf("all %d connections of the relays are in use: %w", cap(g.slots), context.Cause(ctx))
	}
	var mu sync.Mutex // the timer may fire while the statement ends
	left, overran := false, false
	timer := time.AfterFunc(g.slotTime, func() {
		mu.Lock()
		defer mu.Unlock()
		if !left {
			overran = true
			g.overruns.Add(1)
			<-g.slots
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		left = true
		if overran {
			g.overruns.Add(-1)
		} else {
			<-g.slots
		}
		if isLast {
			<-g.last
		}
	}, nil
}
