package outbox

import "fmt"

// Status is where a row stands. docs/states.md draws the moves; the database
// holds them with a CHECK.
type Status string

// The stored states. A row with attempts > 0 that is still pending is being
// retried: that is derived, not stored.
const (
	Pending   Status = "pending"   // to be published, now or later
	Published Status = "published" // confirmed by the broker and routed
	Dead      Status = "dead"      // given up; waits for someone to retry or discard it
	Discarded Status = "discarded" // set aside on purpose, with a reason
)

// Statuses returns every stored state.
func Statuses() []Status { return []Status{Pending, Published, Dead, Discarded} }

// ParseStatus reads a stored state. The error lists those there are.
func ParseStatus(s string) (Status, error) {
	for _, status := range Statuses() {
		if s == string(status) {
			return status, nil
		}
	}
	return "", fmt.Errorf("unknown status %q; have %v", s, Statuses())
}
