package inboxtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// Queue is a broker's queue in memory: an inbox.Source for tests, that can
// lose its connection or refuse settlements on request. Any number of
// consumers may share it, as instances of a service do. Safe for concurrent
// use. It keeps everything in memory and is for tests only.
type Queue struct {
	mu          sync.Mutex
	ready       []inbox.Delivery // in the order of the queue
	out         []*ticket        // handed out and unsettled, in that order
	retrying    []*retry
	settled     []inbox.Settlement
	subscribers map[*subscriber]struct{}
	refuse      []error
	changed     chan struct{} // closed and replaced with every change
}

// ticket is the handle of a delivery.
type ticket struct {
	delivery inbox.Delivery
	holder   *subscriber
	done     bool // settled, or lost with its connection
}

type retry struct {
	delivery inbox.Delivery
	timer    *time.Timer
}

type subscriber struct{ unsettled int }

var _ inbox.Source = (*Queue)(nil)

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{subscribers: make(map[*subscriber]struct{}), changed: make(chan struct{})}
}

// Publish appends messages, as a broker does that received them. The same
// message twice is what a producer's repeated publish looks like.
func (q *Queue) Publish(msgs ...inbox.Message) {
	for _, m := range msgs {
		q.Deliver(inbox.Delivery{Message: m})
	}
}

// Deliver appends a delivery as it is: with Err set it is undecodable, with
// Redelivered set it is one that was handed out before, Failures is its
// count.
func (q *Queue) Deliver(d inbox.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready = append(q.ready, d)
	q.notify()
}

// Consume implements inbox.Source. It never fails.
func (q *Queue) Consume(ctx context.Context, prefetch int) (<-chan inbox.Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &subscriber{}
	q.subscribers[s] = struct{}{}
	deliveries := make(chan inbox.Delivery)
	go q.serve(ctx, s, prefetch, deliveries)
	return deliveries, nil
}

// serve hands out what is ready until ctx ends. It owns the channel.
func (q *Queue) serve(ctx context.Context, s *subscriber, prefetch int, deliveries chan<- inbox.Delivery) {
	defer close(deliveries)
	for {
		d, changed := q.next(s, prefetch)
		if d == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case deliveries <- d.delivery:
		case <-ctx.Done():
			q.untake(d)
			return
		}
	}
}

// next takes the delivery at the head; nil, and what to wait for, when there
// is none or the window is full.
func (q *Queue) next(s *subscriber, prefetch int) (*ticket, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 || s.unsettled >= prefetch {
		return nil, q.changed
	}
	t := &ticket{delivery: q.ready[0], holder: s}
	t.delivery.Handle = t
	q.ready = q.ready[1:]
	q.out = append(q.out, t)
	s.unsettled++
	q.notify()
	return t, nil
}

// untake puts back a delivery that was not handed out.
func (q *Queue) untake(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.release(t) {
		q.requeue(t.delivery.Redelivered, t)
	}
}

// release ends a ticket; false: it had ended.
func (q *Queue) release(t *ticket) bool {
	if t.done {
		return false
	}
	t.done = true
	t.holder.unsettled--
	q.out = slices.DeleteFunc(q.out, func(other *ticket) bool { return other == t })
	return true
}

// requeue puts tickets back at the head, in their order.
func (q *Queue) requeue(redelivered bool, tickets ...*ticket) {
	back := make([]inbox.Delivery, 0, len(tickets))
	for _, t := range tickets {
		d := t.delivery
		d.Handle = nil
		d.Redelivered = redelivered
		back = append(back, d)
	}
	q.ready = slices.Concat(back, q.ready)
	q.notify()
}

// errNoDelivery: a settlement whose delivery did not come from this queue.
var errNoDelivery = errors.New("inboxtest: not a delivery of this queue")

// Settle implements inbox.Source. A delivery that is settled twice, or was
// lost with its connection, answers inbox.ErrStale.
func (q *Queue) Settle(_ context.Context, settlements []inbox.Settlement) []error {
	q.mu.Lock()
	defer q.mu.Unlock()
	outcomes := make([]error, len(settlements))
	for i, s := range settlements {
		outcomes[i] = q.settle(s)
	}
	q.notify()
	return outcomes
}

func (q *Queue) settle(s inbox.Settlement) error {
	t, ours := s.Delivery.Handle.(*ticket)
	if !ours {
		return errNoDelivery
	}
	if err := s.Action.Check(); err != nil {
		return err
	}
	if len(q.refuse) > 0 && !t.done {
		err := q.refuse[0]
		q.refuse = q.refuse[1:]
		if err != nil {
			return err
		}
	}
	if !q.release(t) {
		return inbox.ErrStale
	}
	q.settled = append(q.settled, s)
	switch s.Action {
	case inbox.ActionRetry:
		q.retry(t.delivery, s)
	case inbox.ActionRequeue:
		q.requeue(true, t)
	}
	return nil
}

// retry keeps a delivery for its delay, and then appends it with one failure
// more, if that is to be counted, as a copy that was not handed out before.
func (q *Queue) retry(d inbox.Delivery, s inbox.Settlement) {
	d.Handle = nil
	d.Redelivered = false
	if !s.Uncounted {
		d.Failures++
	}
	r := &retry{delivery: d}
	r.timer = time.AfterFunc(s.Delay, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.endDelay(r)
	})
	q.retrying = append(q.retrying, r)
}

func (q *Queue) endDelay(r *retry) {
	if i := slices.Index(q.retrying, r); i >= 0 {
		q.retrying = slices.Delete(q.retrying, i, i+1)
		q.ready = append(q.ready, r.delivery)
		q.notify()
	}
}

// notify wakes everybody who waits for a change.
func (q *Queue) notify() {
	close(q.changed)
	q.changed = make(chan struct{})
}
