package inbox

import (
	"fmt"
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
	LastError error     // what degraded it last, or why Run has failed; nil: nothing did, or it was stopped in order
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

// Parts of a consumer that report trouble under their name.
const (
	partDatabase = "database"
	partHandlers = "handlers"
	partLocks    = "locked events"
	partPurge    = "purge"
)

// pulse keeps the health.
type pulse struct {
	mu       sync.Mutex
	h        Health
	troubles map[string]error // by part; each of them makes the consumer degraded
}

func (p *pulse) read() Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.h
}

// change applies f and sets the state by what it left.
func (p *pulse) change(f func(h *Health)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.h.State
	f(&p.h)
	p.update(before)
}

// trouble reports that a part cannot do its work, or with a nil err that it can
// (again). It returns whether that is new.
func (p *pulse) trouble(part string, err error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.troubles[part]
	switch {
	case err != nil:
		if p.troubles == nil {
			p.troubles = make(map[string]error)
		}
		p.troubles[part] = err
		p.h.LastError = fmt.Errorf("%s: %w", part, err)
	case known:
		delete(p.troubles, part)
		for other, err := range p.troubles {
			p.h.LastError = fmt.Errorf("%s: %w", other, err)
		}
	}
	p.update(p.h.State)
	return known != (err != nil)
}

// well reports whether nothing is reported.
func (p *pulse) well() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.troubles) == 0
}

// update sets the state from the rest; p.mu is held.
func (p *pulse) update(before State) {
	switch ailing := p.h.Held+p.h.Unsettled+len(p.troubles) > 0; {
	case p.h.State == Running && ailing:
		p.h.State = Degraded
	case p.h.State == Degraded && !ailing:
		p.h.State = Running
	}
	if p.h.State != before {
		p.h.Since = time.Now()
	}
}
