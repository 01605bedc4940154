package rabbitmq

import (
	"context"
	"sync"

	"github.com/asimalizada/pulse-events/inbox"
)

// renewal replaces deliveries of a link that keep coming back by copies, whose
// count of returns is zero. It does so beside the pump, since a publish may take
// as long as a confirm does.
type renewal struct {
	link   *link
	ctx    context.Context // ends with the link's intake
	end    context.CancelFunc
	failed chan []inbox.Delivery // to be handed out as they are
	wg     sync.WaitGroup        // the worker, when there is one

	mu      sync.Mutex
	queue   []inbox.Delivery
	working bool
}

func newRenewal(l *link) *renewal {
	r := &renewal{link: l, failed: make(chan []inbox.Delivery)}
	r.ctx, r.end = context.WithCancel(l.source.life)
	return r
}

func (r *renewal) add(d inbox.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, d)
	if !r.working && r.ctx.Err() == nil {
		r.working = true
		r.wg.Go(r.work)
	}
}

// take returns what is to be renewed; nothing ends the worker.
func (r *renewal) take() []inbox.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.queue
	if r.ctx.Err() != nil {
		taken = nil
	} else {
		r.queue = nil
	}
	r.working = len(taken) > 0
	return taken
}

func (r *renewal) work() {
	for {
		deliveries := r.take()
		if len(deliveries) == 0 {
			return
		}
		if failed := r.renew(deliveries); len(failed) > 0 {
			select {
			case r.failed <- failed:
			case <-r.ctx.Done():
				r.mu.Lock()
				r.queue = append(failed, r.queue...)
				r.mu.Unlock()
			}
		}
	}
}

// renew replaces deliveries by copies and returns those it could not.
func (r *renewal) renew(deliveries []inbox.Delivery) (failed []inbox.Delivery) {
	reserved := make([]reservation, 0, len(deliveries))
	for i, d := range deliveries {
		h := d.Handle.(*handle)
		if r.link.unacked.reserve(h.raw.DeliveryTag) {
			reserved = append(reserved, reservation{i, h})
		}
	}
	var copied []reservation
	for i, taken := range r.link.source.republishToQueue(r.ctx, reserved) {
		if c := reserved[i]; taken {
			copied = append(copied, c)
		} else {
			r.link.unacked.release(c.handle.raw.DeliveryTag)
			failed = append(failed, deliveries[c.index])
		}
	}
	// An error is the link's end: the message comes twice then.
	settle(copied, (*link).acknowledgeNow, make([]error, len(deliveries)))
	return failed
}

// stop ends the worker and returns what it has left undone.
func (r *renewal) stop() []inbox.Delivery {
	r.end()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.queue
	r.queue = nil
	return left
}
