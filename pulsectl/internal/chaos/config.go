// Package chaos puts a system under load and random faults, heals it, waits until
// it has settled, and lets package check judge what was recorded. Services, relays
// and consumers are processes of their own, see package process; servers are a
// development broker and SQLite files, or a given PostgreSQL and RabbitMQ.
package chaos

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// Config configures a run.
type Config struct {
	Seed      uint64
	Duration  time.Duration // of load and faults
	Rate      int           // orders per second that are asked for
	Relays    int
	Consumers int
	// Kinds are the faults that are drawn. Faults, if not nil, are injected instead.
	Kinds  []Kind
	Faults []Fault
	// SettleLimit is how long the system may take to settle, once all faults have
	// ended.
	SettleLimit time.Duration
	// Servers are those of the user; nil: embedded ones.
	Servers *Servers
	// Dir is the directory of the run's files and logs. The caller removes it.
	Dir string
	// Process returns a command that calls process.Run. Its environment is extended.
	Process func() *exec.Cmd
	// Told, if not nil, is called with what happens, by several goroutines.
	Told func(Event)
}

// Event is something that happens in a run.
type Event struct {
	At    time.Duration // since the load began
	Text  string
	Fault bool // a fault begins
}

// Result is what a run comes to.
type Result struct {
	Config   Config
	Began    time.Time // the load
	Took     time.Duration
	Settled  time.Duration // from the end of the last fault until nothing was left to do
	Faults   []Injected
	Crashes  []string // processes that ended by themselves
	Report   *check.Report
	History  *check.History
	Timeline []Point
	Waiting  string // why it is not settled; empty: it is
}

// Injected is a fault with what came of it.
type Injected struct {
	Fault
	Began, Ended time.Duration // in fact, since the load began
	Skipped      bool          // the fault before took until it would have been over
	Error        string        // why it could not be injected or ended; empty: it was
	// Recovery is how long after its end the last of the orders was handled that had
	// been placed until then; faults that overlap or follow count in.
	Recovery time.Duration
}

// Point is the state of the system at a time since the load began.
type Point struct {
	At          time.Duration
	Unpublished int           // events of orders that the broker did not have
	Unapplied   int           // orders without their effect
	Lag         time.Duration // the age of the oldest of those
}

// Verdict is that of the checker, except that a process that ended by itself is a
// violation as well, and that a run whose faults could not all be injected and ended
// proves nothing.
func (r *Result) Verdict() check.Verdict {
	v := r.Report.Verdict()
	switch {
	case v == check.Violated || len(r.Crashes) > 0:
		return check.Violated
	case v == check.Clean && r.Waiting != "":
		return check.Unsettled
	case v == check.Clean && r.failedFaults() > 0:
		return check.Unproven
	}
	return v
}

// Unproven says why a run without findings proves nothing; empty: it does prove.
func (r *Result) Unproven() string {
	switch {
	case r.Verdict() != check.Unproven:
		return ""
	case r.failedFaults() > 0:
		return fmt.Sprintf("%d of the faults could not be injected or ended", r.failedFaults())
	}
	return "no order was accepted"
}

func (r *Result) failedFaults() (n int) {
	for _, f := range r.Faults {
		if f.Error != "" {
			n++
		}
	}
	return n
}

// Skipped counts the faults that were skipped.
func (r *Result) Skipped() (n int) {
	for _, f := range r.Faults {
		if f.Skipped {
			n++
		}
	}
	return n
}

// Recovery returns the longest recovery.
func (r *Result) Recovery() (longest time.Duration) {
	for _, f := range r.Faults {
		longest = max(longest, f.Recovery)
	}
	return longest
}
