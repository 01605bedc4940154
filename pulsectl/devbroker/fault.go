package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// FaultKind is a kind of fault.
type FaultKind string

// The faults that [Broker.Inject] supports.
const (
	// FaultDown is an outage: every connection is cut and new ones are refused. See [Broker.Down].
	FaultDown FaultKind = "down"
	// FaultBlockPublishers sends connection.blocked to publishers, and stops
	// reading from them.
	FaultBlockPublishers FaultKind = "block-publishers"
	// FaultWithholdConfirms withholds confirms until the fault is cleared; then
	// they are sent. The messages are stored and delivered.
	FaultWithholdConfirms FaultKind = "withhold-confirms"
	// FaultDelayConfirms delays confirms by Delay.
	FaultDelayConfirms FaultKind = "delay-confirms"
	// FaultDropConfirms never sends confirms, as if they were lost on the
	// network: the messages are stored and delivered.
	FaultDropConfirms FaultKind = "drop-confirms"
	// FaultDuplicateDeliveries delivers a message twice, with two delivery tags
	// and without the redelivered flag, as if a publisher had sent it twice.
	FaultDuplicateDeliveries FaultKind = "duplicate-deliveries"
	// FaultDelayDeliveries delivers a message to consumers no sooner than Delay
	// after it arrived in its queue. basic.get is not delayed.
	FaultDelayDeliveries FaultKind = "delay-deliveries"
	// FaultRefusePublishes makes queues refuse messages, with basic.nack in
	// confirm mode, like a full queue with x-overflow reject-publish.
	FaultRefusePublishes FaultKind = "refuse-publishes"
	// FaultStallQueues makes queues hang, like a quorum queue without a
	// majority: they accept messages, and neither confirm nor deliver them
	// until the fault is cleared. basic.get is answered with 541.
	FaultStallQueues FaultKind = "stall-queues"
)

// Fault is a fault to inject, or an active one.
type Fault struct {
	Kind FaultKind
	// Delay is the delay, in whole milliseconds, for kinds that delay
	// something; zero for others.
	Delay time.Duration
	// Count ends drop-confirms, delay-confirms, refuse-publishes and
	// duplicate-deliveries after that many. Zero: until it is cleared.
	Count int
	// Queue limits the fault to one queue: to its deliveries, and to messages
	// routed to it, in any virtual host. RoutingKey limits it to messages
	// published with this key. Empty: all. Neither can be used with down and
	// block-publishers, nor RoutingKey with stall-queues.
	Queue, RoutingKey string
	// Since is when the fault began, set by the broker.
	Since time.Time
}

// check reports all problems of a fault.
func (f Fault) check() error {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("devbroker: fault %q: "+format, append([]any{f.Kind}, args...)...))
	}
	delays, counts, byQueue, byKey := false, false, true, true
	switch f.Kind {
	case FaultDown, FaultBlockPublishers:
		byQueue, byKey = false, false
	case FaultWithholdConfirms:
	case FaultStallQueues:
		byKey = false
	case FaultDelayConfirms:
		delays, counts = true, true
	case FaultDelayDeliveries:
		delays = true
	case FaultDropConfirms, FaultDuplicateDeliveries, FaultRefusePublishes:
		counts = true
	default:
		refuse("there is no such fault")
		return errors.Join(problems...)
	}
	if delays && f.Delay < time.Millisecond {
		refuse("Delay is %v: it must be at least a millisecond", f.Delay)
	}
	if !delays && f.Delay != 0 {
		refuse("Delay has no meaning here")
	}
	if f.Count < 0 || !counts && f.Count != 0 {
		refuse("Count is %d: it %s", f.Count, map[bool]string{true: "cannot be negative", false: "has no meaning here"}[counts])
	}
	if !byQueue && f.Queue != "" {
		refuse("Queue has no meaning here")
	}
	if !byKey && f.RoutingKey != "" {
		refuse("RoutingKey has no meaning here")
	}
	return errors.Join(problems...)
}

// same reports whether f and o have the same kind, queue and routing key.
func (f *Fault) same(o *Fault) bool {
	return f.Kind == o.Kind && f.Queue == o.Queue && f.RoutingKey == o.RoutingKey
}

// concern is what a fault can be limited to: a message's routing key and the
// queues it was routed to.
type concern struct {
	key    string
	queues []*queue
}

// covers reports whether the fault applies to c. A nil concern is covered only
// by a fault without limits.
func (f *Fault) covers(c *concern) bool {
	switch {
	case f.Queue == "" && f.RoutingKey == "":
		return true
	case c == nil:
		return false
	}
	return (f.RoutingKey == "" || f.RoutingKey == c.key) &&
		(f.Queue == "" || slices.ContainsFunc(c.queues, func(q *queue) bool { return q.name == f.Queue }))
}

// faults are the active faults, the oldest first. The broker's lock guards
// them.
type faults []*Fault

// on returns the first fault of this kind that covers c, or nil.
func (f faults) on(kind FaultKind, c *concern) *Fault {
	for _, fault := range f {
		if fault.Kind == kind && fault.covers(c) {
			return fault
		}
	}
	return nil
}

// spend uses an active fault once and returns it, or nil if there is none.
func (f *faults) spend(kind FaultKind, c *concern) *Fault {
	fault := f.on(kind, c)
	if fault != nil && fault.Count > 0 {
		if fault.Count--; fault.Count == 0 {
			*f = slices.DeleteFunc(*f, func(o *Fault) bool { return o == fault })
		}
	}
	return fault
}

// confined reports whether any fault is limited to some messages.
func (f faults) confined() bool {
	return slices.ContainsFunc(f, func(o *Fault) bool { return o.Queue != "" || o.RoutingKey != "" })
}

// onEntry returns the first fault of this kind that covers an entry of a queue,
// or nil.
func (f faults) onEntry(kind FaultKind, q *queue, e *entry) *Fault {
	if len(f) == 0 {
		return nil
	}
	return f.on(kind, &concern{key: e.msg.key, queues: []*queue{q}})
}

// stalled reports whether a queue hangs.
func (f faults) stalled(q *queue) bool {
	return len(f) > 0 && f.on(FaultStallQueues, &concern{queues: []*queue{q}}) != nil
}

// holdDelivery returns how many milliseconds an entry must still wait before
// delivery.
func (f faults) holdDelivery(q *queue, e *entry, at int64) int64 {
	if fault := f.onEntry(FaultDelayDeliveries, q, e); fault != nil {
		return max(0, e.since+fault.Delay.Milliseconds()-at)
	}
	return 0
}

// duplicates reports whether an entry that is being delivered must be delivered
// twice.
func (f *faults) duplicates(q *queue, e *entry) bool {
	return len(*f) > 0 && !e.copied && f.spend(FaultDuplicateDeliveries, &concern{key: e.msg.key, queues: []*queue{q}}) != nil
}

// refuses reports whether a queue must refuse a message.
func (f *faults) refuses(q *queue, m *message) bool {
	return len(*f) > 0 && f.spend(FaultRefusePublishes, &concern{key: m.key, queues: []*queue{q}}) != nil
}

// Inject starts a fault, which lasts until it is cleared or used up. It
// replaces an active fault of the same kind with the same queue and routing
// key.
func (b *Broker) Inject(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.Kind == FaultDown {
		return b.Down()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return ErrClosed
	}
	f.Since = time.Now()
	b.faults.remove(func(o *Fault) bool { return o.same(&f) })
	b.faults = append(b.faults, &f)
	b.checkAlarm()
	return nil
}

func (f *faults) remove(which func(*Fault) bool) { *f = slices.DeleteFunc(*f, which) }

// Faults lists the active faults, the oldest first.
func (b *Broker) Faults() []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	active := make([]Fault, 0, len(b.faults))
	for _, f := range b.faults {
		active = append(active, *f)
	}
	slices.SortFunc(active, func(x, y Fault) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Kind, y.Kind))
	})
	return active
}

// Clear ends faults of these kinds, or all of them if none is named, whatever
// they are limited to; kinds that are not active are ignored. Withheld confirms
// are sent; what is already delayed arrives when its delay is over. The error,
// if any, is that of [Broker.Up].
func (b *Broker) Clear(kinds ...FaultKind) error {
	return b.clear(func(f *Fault) bool { return len(kinds) == 0 || slices.Contains(kinds, f.Kind) })
}

// ClearFault ends the fault of this kind with the same queue and routing key,
// if it is active. See [Broker.Clear].
func (b *Broker) ClearFault(f Fault) error { return b.clear(f.same) }

func (b *Broker) clear(which func(*Fault) bool) error {
	b.mu.Lock()
	up := slices.ContainsFunc(b.faults, func(f *Fault) bool { return f.Kind == FaultDown && which(f) })
	b.faults.remove(func(f *Fault) bool { return f.Kind != FaultDown && which(f) })
	b.releaseConfirms()
	for q := range b.allQueues() {
		b.touch(q)
	}
	b.settleQueues()
	b.mu.Unlock()
	if up {
		return b.Up()
	}
	return nil
}

// releaseConfirms sends the confirms that no fault withholds any longer.
func (b *Broker) releaseConfirms() {
	for c := range b.conns {
		for _, ch := range c.channels {
			withheld := ch.confirms.withheld
			ch.confirms.withheld = nil
			b.answer(ch, withheld)
		}
	}
}
