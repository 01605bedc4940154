package outbox

import "fmt"

// Status is the state of a message. The transitions are drawn in docs/states.md.
type Status string

// The states of a message. That a pending message is being retried is not a state
// of its own, see Record.Retrying.
const (
	Pending   Status = "pending"   // to be published, now or later
	Published Status = "published" // confirmed by the broker and routed to a queue
	Dead      Status = "dead"      // not published unless Outbox.Retry is called
	Discarded Status = "discarded" // not to be published, see Outbox.Discard
)

// Statuses returns all states.
func Statuses() []Status { return []Status{Pending, Published, Dead, Discarded} }

// ParseStatus returns the state named s. The error lists the valid ones.
func ParseStatus(s string) (Status, error) {
	for _, status := range Statuses() {
		if s == string(status) {
			return status, nil
		}
	}
	return "", fmt.Errorf("unknown status %q; have %v", s, Statuses())
}
