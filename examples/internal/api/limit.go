package api

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound requests by token buckets that hold what comes in a second, so
// that a burst of so many is served.
type Limits struct {
	All       float64 // requests a second to a service; 0: no limit
	PerCaller float64 // of each caller, or address where the caller is not known; 0: no limit
}

// maxCallers bounds how many callers are remembered, some 200 bytes each. Of
// more than these, the one that asked longest ago begins anew.
const maxCallers = 10_000

// limiter counts callers apart from strangers: those can be as many as they
// like, and must not make the service forget a caller.
type limiter struct {
	all                bucket
	callers, strangers *buckets
}

func newLimiter(l Limits) *limiter {
	return &limiter{all: newBucket(l.All), callers: newBuckets(l.PerCaller), strangers: newBuckets(l.PerCaller)}
}

// bucket is a limit; without a limiter there is none.
type bucket struct{ *rate.Limiter }

func newBucket(perSecond float64) bucket {
	if perSecond <= 0 {
		return bucket{}
	}
	return bucket{rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))}
}

// take counts a request. It returns how long to wait where there have been too
// many, and does not count it then.
func (b bucket) take(now time.Time) time.Duration {
	if b.Limiter == nil {
		return 0
	}
	reserved := b.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// buckets are one for each key, the latest used at the front.
type buckets struct {
	perSecond float64
	most      int

	mu    sync.Mutex
	order *list.List // of *keyed
	byKey map[string]*list.Element
}

type keyed struct {
	key string
	bucket
}

func newBuckets(perSecond float64) *buckets {
	return &buckets{perSecond: perSecond, most: maxCallers, order: list.New(), byKey: map[string]*list.Element{}}
}

func (b *buckets) take(key string, now time.Time) time.Duration {
	if b.perSecond <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	element, known := b.byKey[key]
	if known {
		b.order.MoveToFront(element)
	} else {
		element = b.order.PushFront(&keyed{key, newBucket(b.perSecond)})
		b.byKey[key] = element
		if b.order.Len() > b.most {
			oldest := b.order.Remove(b.order.Back()).(*keyed)
			delete(b.byKey, oldest.key)
		}
	}
	return element.Value.(*keyed).take(now)
}

// network returns what stands for a client: its address, or of IPv6 the network
// of which everybody gets a whole one.
func network(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}
