// Package diagnosis looks at databases, broker and queues for everything that
// keeps messages from flowing or puts them at risk. It only reads: what it
// cannot see without changing something, it reports as unknown.
package diagnosis

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// State is the result of one look.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn" // works, and is at risk or not as recommended
	Fail State = "fail" // does not work, or loses messages
	// Unknown: it could not be seen. The detail says why.
	Unknown State = "unknown"
)

// Finding is one line of the report.
type Finding struct {
	Check  string // such as outbox.schema
	State  State
	Detail string
	Hint   string // what to type or do next; may be empty
}

// Report collects findings. It is not safe for concurrent use.
type Report struct{ Findings []Finding }

func (r *Report) add(check string, state State, hint, detail string) {
	r.Findings = append(r.Findings, Finding{check, state, detail, hint})
}

func (r *Report) ok(check, format string, args ...any) {
	r.add(check, OK, "", fmt.Sprintf(format, args...))
}

func (r *Report) warn(check, hint, format string, args ...any) {
	r.add(check, Warn, hint, fmt.Sprintf(format, args...))
}

func (r *Report) fail(check, hint, format string, args ...any) {
	r.add(check, Fail, hint, fmt.Sprintf(format, args...))
}

// Unknown adds a finding that could not be made.
func (r *Report) Unknown(check, hint, format string, args ...any) {
	r.add(check, Unknown, hint, fmt.Sprintf(format, args...))
}

// Add adds a finding.
func (r *Report) Add(f Finding) { r.Findings = append(r.Findings, f) }

// unseen reports a question that was answered with an error.
func (r *Report) unseen(check string, err error) {
	text := err.Error()
	hint := ""
	if f, ok := errors.AsType[*fail.Error](err); ok {
		hint = f.Hint
	}
	r.Unknown(check, hint, "cannot be seen: %s", text)
}

// has reports whether there is a finding of a check that is not ok.
func (r *Report) has(check string) bool {
	for _, f := range r.Findings {
		if f.Check == check && f.State != OK {
			return true
		}
	}
	return false
}

// Worst returns the worst state: fail, warn or ok. What could not be seen does
// not count.
func (r *Report) Worst() State {
	worst := OK
	for _, f := range r.Findings {
		if f.State == Fail || f.State == Warn && worst == OK {
			worst = f.State
		}
	}
	return worst
}

// Count returns the number of findings in a state.
func (r *Report) Count(state State) (n int) {
	for _, f := range r.Findings {
		if f.State == state {
			n++
		}
	}
	return n
}

// Options are what cannot be seen from outside, and thresholds.
type Options struct {
	Lanes, Workers                  int // of each relay, and of each consumer
	OutboxRetention, InboxRetention time.Duration
	ReplayHorizon                   time.Duration
	OldSnapshot                     time.Duration // older transactions hold back vacuuming
	Expiry                          time.Duration // certificates that expire sooner are reported
	Exchange                        string
	ReadDeadLetters                 bool
}

// listed joins names, and leaves out what is too much.
func listed(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// short formats an age.
func short(d time.Duration) string {
	switch {
	case d > 72*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d > time.Minute:
		return d.Round(time.Minute).String()
	}
	return d.Round(time.Millisecond).String()
}
