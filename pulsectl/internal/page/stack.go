package page

import (
	"context"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Stack is the example system that the page shows at work.
type Stack interface {
	// Acts lists the faults that can be begun and ended here; none: this system has
	// none.
	Acts() []Act
	// Faults lists the active faults by their names in Acts.
	Faults(context.Context) ([]Fault, error)
	// Begin begins a fault of Acts, or does it at once.
	Begin(ctx context.Context, name string) error
	// End ends a fault.
	End(ctx context.Context, name string) error
	// PlaceOrder places an order, and returns the id of its event.
	PlaceOrder(ctx context.Context, customer, amount string) (event string, err error)
}

// Act is a fault, or something that is done at once.
type Act struct {
	Name  string // as in pulsectl chaos
	Usage string // what it does, in words
	Once  bool   // it cannot be ended
}

// Fault is an active fault.
type Fault struct {
	Name  string
	Since time.Time
}

// faults lists the active faults; none if they cannot be read, which the broker's
// state says better.
func (h *Handler) faults(ctx context.Context) []Fault {
	if h.cfg.Stack == nil {
		return nil
	}
	var faults []Fault
	_ = fail.Within(ctx, faultsLimit, func(ctx context.Context) (err error) {
		faults, err = h.cfg.Stack.Faults(ctx)
		return err
	})
	return faults
}
