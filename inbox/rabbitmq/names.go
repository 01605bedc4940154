package rabbitmq

import (
	"slices"
	"strings"
	"time"
)

// Names are the queues that belong to one consumer.
type Names struct {
	Queue       string // where messages are consumed
	Retry       []Rung // where they wait for their next attempt, shortest delay first
	DeadLetters string // where they end when there is no next attempt
}

// Rung is one step of the retry ladder: a queue whose messages go back to the
// consumer's queue when they have lain in it for Delay.
type Rung struct {
	Delay time.Duration
	Queue string
}

// DefaultRetryDelays are the delays of a ladder for which none are given.
func DefaultRetryDelays() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
}

// retryInfix stands between the names of a queue and of a delay.
const retryInfix = ".retry."

// QueueNames returns the names that a Source gives to the queues around queue:
// "<queue>.retry.<delay>" with delays such as 500ms, 5s, 2m or 1h30m, and
// "<queue>.dlq". Without delays it takes DefaultRetryDelays.
func QueueNames(queue string, delays []time.Duration) Names {
	if len(delays) == 0 {
		delays = DefaultRetryDelays()
	}
	names := Names{Queue: queue, DeadLetters: queue + ".dlq"}
	for _, delay := range slices.Sorted(slices.Values(delays)) {
		names.Retry = append(names.Retry, Rung{delay, queue + retryInfix + delayName(delay)})
	}
	return names
}

// rungIndex returns the step for a delay: the first that lasts at least as
// long, else the last.
func (n Names) rungIndex(delay time.Duration) int {
	for i, r := range n.Retry {
		if r.Delay >= delay {
			return i
		}
	}
	return len(n.Retry) - 1
}

// delayName is Duration.String without the zero units at its end.
func delayName(d time.Duration) string {
	name := d.String()
	if short, found := strings.CutSuffix(name, "m0s"); found {
		name = short + "m"
	}
	if short, found := strings.CutSuffix(name, "h0m"); found {
		name = short + "h"
	}
	return name
}
