package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// FaultKind names a way in which a broker misbehaves on demand.
type FaultKind string

// The faults that [Broker.Inject] knows.
const (
	// FaultDown is an outage: every connection is cut and new ones are refused. See [Broker.Down].
	FaultDown FaultKind = "down"
	// FaultBlockPublishers sends connection.blocked to whoever publishes, and stops reading from them.
	FaultBlockPublishers FaultKind = "block-publishers"
	// FaultWithholdConfirms keeps confirms back until the fault is cleared; then they are sent. The messages are stored
	// and delivered.
	FaultWithholdConfirms FaultKind = "withhold-confirms"
	// FaultDelayConfirms sends confirms later by Delay.
	FaultDelayConfirms FaultKind = "delay-confirms"
	// FaultDropConfirms never sends confirms, as when they are lost on the way: the messages are stored and delivered.
	FaultDropConfirms FaultKind = "drop-confirms"
	// FaultDuplicateDeliveries delivers a message twice, with two delivery tags and without the redelivered flag, as
	// when a publisher has sent it twice.
	FaultDuplicateDeliveries FaultKind = "duplicate-deliveries"
	// FaultDelayDeliveries delivers a message to consumers no sooner than Delay after it came into its queue.
	// basic.get is not delayed.
	FaultDelayDeliveries FaultKind = "delay-deliveries"
	// FaultRefusePublishes lets queues refuse what is published, with basic.nack for who wants confirms, as a full
	// queue with x-overflow reject-publish does.
	FaultRefusePublishes FaultKind = "refuse-publishes"
	// FaultStallQueues lets queues stand still, as a quorum queue without a majority does: they take messages in, and
	// neither confirm nor deliver them until the fault is cleared. basic.get is answered with 541.
	FaultStallQueues FaultKind = "stall-queues"
)

// Fault is a fault to inject or one that is active.
type Fault struct {
	Kind FaultKind
	// Delay is by how long, in whole milliseconds, for the kinds that delay something; zero for the others.
	Delay time.Duration
	// Count ends drop-confirms, delay-confirms, refuse-publishes and duplicate-deliveries after so many. Zero: until it
	// is cleared.
	Count int
	// Queue confines the fault to one queue: to its deliveries, and to messages that are routed to it, in whatever
	// virtual host. RoutingKey confines it to messages published with this key. Empty: all. Neither has a meaning for
	// down and block-publishers, RoutingKey none for stall-queues.
	Queue, RoutingKey string
	// Since is when the fault began. It is set by the broker.
	Since time.Time
}

// check reports all problems of a fault to be injected.
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

// same tells whether f is what o is, but for its measure.
func (f *Fault) same(o *Fault) bool {
	return f.Kind == o.Kind && f.Queue == o.Queue && f.RoutingKey == o.RoutingKey
}

// concern is what a fault may be confined to: a message's routing key and the queues it was routed to.
type concern struct {
	key    string
	queues []*queue
}

// covers tells whether the fault is about c. Of nil, only one that is not confined is.
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

// faults are those active, the oldest first. The broker's lock guards them.
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

// spend uses a fault once, if one is on, and returns it, or nil.
func (f *faults) spend(kind FaultKind, c *concern) *Fault {
	fault := f.on(kind, c)
	if fault != nil && fault.Count > 0 {
		if fault.Count--; fault.Count == 0 {
			*f = slices.DeleteFunc(*f, func(o *Fault) bool { return o == fault })
		}
	}
	return fault
}

// confined tells whether any fault is confined to some messages.
func (f faults) confined() bool {
	return slices.ContainsFunc(f, func(o *Fault) bool { return o.Queue != "" || o.RoutingKey != "" })
}

// onEntry returns the first fault of this kind about an entry of a queue, or nil.
func (f faults) onEntry(kind FaultKind, q *queue, e *entry) *Fault {
	if len(f) == 0 {
		return nil
	}
	return f.on(kind, &concern{key: e.msg.key, queues: []*queue{q}})
}

// stalled tells whether a queue stands still.
func (f faults) stalled(q *queue) bool {
	return len(f) > 0 && f.on(FaultStallQueues, &concern{queues: []*queue{q}}) != nil
}

// holdDelivery tells for how many milliseconds more an entry may not be delivered.
func (f faults) holdDelivery(q *queue, e *entry, at int64) int64 {
	if fault := f.onEntry(FaultDelayDeliveries, q, e); fault != nil {
		return max(0, e.since+fault.Delay.Milliseconds()-at)
	}
	return 0
}

// duplicates tells whether an entry that is being delivered shall be delivered once more.
func (f *faults) duplicates(q *queue, e *entry) bool {
	return len(*f) > 0 && !e.copied && f.spend(FaultDuplicateDeliveries, &concern{key: e.msg.key, queues: []*queue{q}}) != nil
}

// refuses tells whether a queue shall not take a message.
func (f *faults) refuses(q *queue, m *message) bool {
	return len(*f) > 0 && f.spend(FaultRefusePublishes, &concern{key: m.key, queues: []*queue{q}}) != nil
}

// Inject makes the broker misbehave, from now on until the fault is cleared or used up. A fault of the same kind and
// confined to the same queue and routing key that is active already is replaced.
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

// Clear ends faults of these kinds, or all of them if none is named, whatever they are confined to; kinds that are not
// active are ignored. Confirms that were withheld are sent; what was delayed already comes when it would have come. The
// error, if any, is that of [Broker.Up].
func (b *Broker) Clear(kinds ...FaultKind) error {
	return b.clear(func(f *Fault) bool { return len(kinds) == 0 || slices.Contains(kinds, f.Kind) })
}

// ClearFault ends the fault of this kind that is confined to the same queue and routing key, if it is active. See
// [Broker.Clear].
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

// releaseConfirms sends the confirms that no fault withholds any more.
func (b *Broker) releaseConfirms() {
	for c := range b.conns {
		for _, ch := range c.channels {
			withheld := ch.confirms.withheld
			ch.confirms.withheld = nil
			b.answer(ch, withheld)
		}
	}
}
