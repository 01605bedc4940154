package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
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
)

// Fault is a fault to inject or one that is active.
type Fault struct {
	Kind FaultKind
	// Delay is by how long, in whole milliseconds, for the kinds that delay something; zero for the others.
	Delay time.Duration
	// Count ends drop-confirms, delay-confirms and duplicate-deliveries after so many. Zero: until it is cleared.
	Count int
	// Since is when the fault began. It is set by the broker.
	Since time.Time
}

// check reports all problems of a fault to be injected.
func (f Fault) check() error {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("devbroker: fault %q: "+format, append([]any{f.Kind}, args...)...))
	}
	delays, counts := false, false
	switch f.Kind {
	case FaultDown, FaultBlockPublishers, FaultWithholdConfirms:
	case FaultDelayConfirms:
		delays, counts = true, true
	case FaultDelayDeliveries:
		delays = true
	case FaultDropConfirms, FaultDuplicateDeliveries:
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
	return errors.Join(problems...)
}

// faults are those active. The broker's lock guards them.
type faults map[FaultKind]*Fault

// spend uses a fault up to n times and tells how often it was still to be used.
func (f faults) spend(kind FaultKind, n int) int {
	fault := f[kind]
	switch {
	case fault == nil || n == 0:
		return 0
	case fault.Count == 0:
		return n
	}
	n = min(n, fault.Count)
	if fault.Count -= n; fault.Count == 0 {
		delete(f, kind)
	}
	return n
}

// delay returns the milliseconds that a fault delays by, 0 if it is not active.
func (f faults) delay(kind FaultKind) int64 {
	if fault := f[kind]; fault != nil {
		return fault.Delay.Milliseconds()
	}
	return 0
}

// holdDelivery tells for how many milliseconds more an entry may not be delivered.
func (f faults) holdDelivery(e *entry, at int64) int64 {
	if delay := f.delay(FaultDelayDeliveries); delay > 0 {
		return max(0, e.since+delay-at)
	}
	return 0
}

// duplicates tells whether an entry that is being delivered shall be delivered once more.
func (f faults) duplicates(e *entry) bool {
	return !e.copied && f.spend(FaultDuplicateDeliveries, 1) > 0
}

// Inject makes the broker misbehave, from now on until the fault is cleared or used up. A fault of the same kind that
// is active already is replaced.
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
	b.faults[f.Kind] = &f
	b.checkAlarm()
	return nil
}

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

// Clear ends faults of these kinds, or all of them if none is named; kinds that are not active are ignored. Confirms
// that were withheld are sent; what was delayed already comes when it would have come. The error, if any, is that of
// [Broker.Up].
func (b *Broker) Clear(kinds ...FaultKind) error {
	b.mu.Lock()
	if len(kinds) == 0 {
		kinds = slices.Collect(maps.Keys(b.faults))
	}
	up := slices.Contains(kinds, FaultDown) && b.faults[FaultDown] != nil
	for _, kind := range kinds {
		if kind != FaultDown {
			delete(b.faults, kind)
		}
	}
	if b.faults[FaultWithholdConfirms] == nil {
		b.releaseConfirms()
	}
	if b.faults[FaultDelayDeliveries] == nil {
		for _, q := range b.queues {
			b.touch(q)
		}
	}
	b.settleQueues()
	b.mu.Unlock()
	if up {
		return b.Up()
	}
	return nil
}

// releaseConfirms sends the confirms that were withheld.
func (b *Broker) releaseConfirms() {
	for c := range b.conns {
		for _, ch := range c.channels {
			withheld := ch.confirms.withheld
			ch.confirms.withheld = nil
			b.answer(ch, withheld)
		}
	}
}
