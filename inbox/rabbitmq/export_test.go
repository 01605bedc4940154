package rabbitmq

import "github.com/asimalizada/pulse-events/inbox"

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
		l.ledger.mu.Lock()
		n += len(l.ledger.tags)
		l.ledger.mu.Unlock()
	}
	return n
}
