package stack

import (
	"context"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Fault is a fault of an embedded stack that chaos injects.
type Fault struct {
	Name, Usage string
	Kind        devbroker.FaultKind
	Delay       time.Duration // by default; zero: the fault has no delay
	Counts      bool          // it can end after a number of times
}

var faults = []Fault{
	{Name: "broker-block", Kind: devbroker.FaultBlockPublishers, Usage: "block publishers, as a broker short of memory or disk does"},
	{Name: "broker-slow", Kind: devbroker.FaultDelayConfirms, Usage: "delay publisher confirms", Delay: 500 * time.Millisecond},
	{Name: "drop-confirms", Kind: devbroker.FaultDropConfirms, Usage: "accept messages and never confirm them", Counts: true},
	{Name: "duplicate", Kind: devbroker.FaultDuplicateDeliveries, Usage: "deliver messages twice", Counts: true},
	{Name: "poison", Kind: control.FaultPoisonHandler, Usage: "let the notifications' handler refuse every message, as one with a bug does: they are dead-lettered"},
}

// Faults returns the faults of an embedded stack, besides a broker that is stopped.
func Faults() []Fault { return append([]Fault(nil), faults...) }

// Begin begins the fault in a running stack.
func (f Fault) Begin(ctx context.Context, s State, delay time.Duration, count int) error {
	broker, err := s.Driver().Control(s)
	if err != nil {
		return err
	}
	return fail.Wrap("cannot begin "+f.Name, broker.Inject(ctx, control.Fault{Kind: f.Kind, Delay: delay, Count: count}))
}

// End ends it.
func (f Fault) End(ctx context.Context, s State) error {
	broker, err := s.Driver().Control(s)
	if err != nil {
		return err
	}
	return fail.Wrap("cannot end "+f.Name, broker.Clear(ctx, f.Kind))
}
