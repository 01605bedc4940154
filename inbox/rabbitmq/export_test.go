package rabbitmq

import (
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// BreakChannel makes the broker close the channel a delivery came on, as it
// does when a consumer takes too long.
func BreakChannel(d inbox.Delivery) error {
	return d.Handle.(*handle).link.channel.Ack(1<<40, false)
}

// Unsettled is the number of deliveries that s has handed out, or is about to,
// and not settled.
func Unsettled(s *Source) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for l := range s.links {
		l.unacked.mu.Lock()
		n += len(l.unacked.tags)
		l.unacked.mu.Unlock()
	}
	return n
}

// SetPatience is how long a refused message waits for its queue.
func SetPatience(s *Source, patience time.Duration) { s.patience = patience }

// BytesHeld is the size of what s has received and not settled.
func BytesHeld(s *Source) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for l := range s.links {
		l.window.mu.Lock()
		n += l.window.held
		l.window.mu.Unlock()
	}
	return n
}

// ReadFailures reads the history of failures from headers.
var ReadFailures = readFailures

// CountsReturns reports whether the broker counts returns to quorum queues.
func (i *Inspector) CountsReturns() bool { return i.countsReturns }

// SetQuietLimit is how long a queue may be quiet before s asks it, and how long it may
// take to answer.
func SetQuietLimit(s *Source, quiet, answer time.Duration) {
	s.quietLimit, s.answerLimit = quiet, answer
}

// Unaskable reports whether the queue has refused to be asked.
func Unaskable(s *Source) bool { return s.unaskable.Load() }
