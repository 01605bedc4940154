package rabbitmq

import (
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
)

// Names are the queues that belong to one consumer.
type Names struct {
	Queue       string       // where messages are consumed
	Retry       []RetryQueue // where they wait for their next attempt, shortest delay first
	DeadLetters string       // where they end when there is no next attempt
}

// RetryQueue is a queue whose messages return to the consumer's queue when they
// have waited in it for Delay.
type RetryQueue struct {
	Delay time.Duration
	Queue string
}

// DefaultRetryDelays are the delays of the retry queues where none are given.
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
		names.Retry = append(names.Retry, RetryQueue{delay, queue + retryInfix + clip.Duration(delay)})
	}
	return names
}

// retryIndex returns the index of the retry queue for a delay: the first that lasts at least as
// long, else the last.
func (n Names) retryIndex(delay time.Duration) int {
	for i, r := range n.Retry {
		if r.Delay >= delay {
			return i
		}
	}
	return len(n.Retry) - 1
}
