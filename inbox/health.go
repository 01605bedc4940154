package inbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// State is the state of a consumer.
type State string

// The states. A consumer leaves every one but Stopped without a restart. (An
// outbox prefixes the names of its states, as its messages have a status too.)
const (
	Starting State = "starting" // Run has not been called, or the source is not yet there
	Running  State = "running"
	Degraded State = "degraded" // something is unavailable, see Health.LastError; nothing is lost meanwhile
	Stopped  State = "stopped"  // Run has returned
)

// Health is a snapshot of a consumer's state and counters.
type Health struct {
	State     State
	Since     time.Time // of the state
	LastError error     // what degraded it last, or why Run has failed; nil: nothing did
	Held      int       // workers that wait for the database, or because a handler returned Unavailable
	Unsettled int       // handled messages whose settlement the source has not accepted yet

	// Since the start.
	Applied      int64 // transactions committed with the message's effect
	Duplicates   int64 // acknowledged without effect
	Retried      int64 // delivered again after a delay
	DeadLettered int64 // moved to the dead-letter queue
	Requeued     int64 // requeued, at shutdown
	Stale        int64 // settled too late: the source delivers them again

	// Deprecated: use DeadLettered.
	SetAside int64 `json:"-"`
	// Deprecated: use Requeued.
	GivenBack int64 `json:"-"`
}

// Parts of a consumer that can report trouble.
const (
	partDatabase = "database"
	partHandlers = "handlers"
	partLocks    = "locked events"
	partPurge    = "purge"
)

// monitor holds a consumer's Health.
type monitor struct {
	mu       sync.Mutex
	h        Health
	troubles map[string]error // by part; each of them makes the consumer degraded
}

func (p *monitor) read() Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.h
	h.SetAside, h.GivenBack = h.DeadLettered, h.Requeued
	return h
}

// change applies f and sets the state by what it left.
func (p *monitor) change(f func(h *Health)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.h.State
	f(&p.h)
	p.update(before)
}

// trouble records that a part cannot do its work, or with a nil err that it can
// again. It returns whether that is news.
func (p *monitor) trouble(part string, err error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.troubles[part]
	switch {
	case err != nil:
		if p.troubles == nil {
			p.troubles = make(map[string]error)
		}
		p.troubles[part] = err
		p.h.LastError = fmt.Errorf("%w: %w", health.Part(part), err)
	case known:
		delete(p.troubles, part)
		for other, err := range p.troubles {
			p.h.LastError = fmt.Errorf("%w: %w", health.Part(other), err)
		}
	}
	p.update(p.h.State)
	return known != (err != nil)
}

// well reports whether no part has trouble.
func (p *monitor) well() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.troubles) == 0
}

// update sets the state from the rest; p.mu is held.
func (p *monitor) update(before State) {
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
