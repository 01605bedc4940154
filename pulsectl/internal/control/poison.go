package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// FaultPoisonHandler lets the consumer's handler refuse every message, as one with a
// bug does, and they are dead-lettered. Unlike the others it is a fault of the
// service, not of the broker, and has neither delay nor count.
const FaultPoisonHandler devbroker.FaultKind = "poison-handler"

// Poison is the fault FaultPoisonHandler of a process. The zero value is inactive.
// It is safe for concurrent use.
type Poison struct {
	mu    sync.Mutex
	since time.Time // zero: inactive
}

// Handler returns a handler that calls next unless the fault is active.
func (p *Poison) Handler(next inbox.Handler) inbox.Handler {
	return func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if p.active().IsZero() {
			return next(ctx, tx, msg)
		}
		return inbox.DeadLetter(fmt.Errorf("cannot render the notification of event %s: pulsectl chaos poison is active", msg.ID))
	}
}

func (p *Poison) active() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since
}

// inject begins the fault; if it is active already, nothing changes.
func (p *Poison) inject() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

func (p *Poison) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Time{}
}
