package inbox

import (
	"sync"
	"time"
)

// State is how a consumer fares.
type State string

// The states. Every one but Stopped is left without a restart.
const (
	Starting State = "starting" // Run has not been called, or the source is not yet there
	Running  State = "running"
	Degraded State = "degraded" // something is away; Health.LastError says what, and nothing is lost meanwhile
	Stopped  State = "stopped"  // Run has returned
)

// Health is a consumer's account of itself.
type Health struct {
	State     State
	Since     time.Time // of the state
	LastError error     // what stopped or degraded it last; nil: nothing did
	Held      int       // workers that wait for the database, or for what a handler called Unavailable
	Unsettled int       // messages done with, whose settlement the source has not taken yet

	// Since the start.
	Applied    int64 // transactions committed with the message's effect
	Duplicates int64 // acknowledged without effect
	Retried    int64 // parked on the retry ladder
	SetAside   int64 // sent to the dead-letter queue
	GivenBack  int64 // returned to the queue, at shutdown
	Stale      int64 // settled too late: the source delivers them again
}

// pulse keeps the health.
type pulse struct {
	mu sync.Mutex
	h  Health
}

func (p *pulse) read() Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.h
}

// change applies f and draws the state from what it left.
func (p *pulse) change(f func(h *Health)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.h.State
	f(&p.h)
	switch ailing := p.h.Held+p.h.Unsettled > 0; {
	case p.h.State == Running && ailing:
		p.h.State = Degraded
	case p.h.State == Degraded && !ailing:
		p.h.State = Running
	}
	if p.h.State != before {
		p.h.Since = time.Now()
	}
}
