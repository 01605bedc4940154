// Package check judges a recorded history of a system: what its clients were
// told, what its tables and queues hold, and which messages the broker had, in
// which order. It decides whether anything was lost, doubled, invented, reordered
// or changed.
//
// It is independent of what it judges: it imports the standard library alone,
// reads no database, and knows nothing of leases, cursors or claims. What counts
// is what anyone can see from outside. A History is plain data, so that one can be
// written to a file and judged again, and so that tests can plant a fault in one.
//
// # Terms
//
// An order is a committed change of the producer's data; it names the event that
// tells of it. An effect is a committed change of the consumer's data; it names the
// event that it was made for, and may name an event that tells of it in turn, its
// follow-up. Orders and effects are the origins of events: an event without an
// origin is a ghost. Events of orders have to be published and applied, those of
// effects to be published.
package check

import "time"

// History is what was recorded of one run. Everything but Publications may be in
// any order.
type History struct {
	// Answers are what clients were told about the orders they asked for.
	Answers []Answer `json:"answers"`
	Orders  []Order  `json:"orders"`
	// Outbox has the rows of all outboxes.
	Outbox []Row `json:"outbox"`
	// Publications are the messages that the broker had, each copy, in the order
	// in which it had them.
	Publications []Publication `json:"publications"`
	// Inbox has the event of each row of the inbox.
	Inbox   []string `json:"inbox"`
	Effects []Effect `json:"effects"`
	// DeadLetters has the event of each dead letter.
	DeadLetters []string `json:"deadLetters"`
	// Queued counts messages that are still in queues, or held by consumers.
	Queued int `json:"queued"`
	// Replayed are events that were published again on purpose.
	Replayed []string `json:"replayed"`
	// Restored are events that were published again because a queue was deleted with
	// them in it: the same is required of them as of all others.
	Restored []string `json:"restored"`
}

// Outcome is what a client was told.
type Outcome string

// The outcomes.
const (
	// Accepted: the order is committed.
	Accepted Outcome = "accepted"
	// Refused: the order is not committed, and never will be.
	Refused Outcome = "refused"
	// Unknown: no answer, or one that leaves it open.
	Unknown Outcome = "unknown"
)

// Answer is what a client was told about one order.
type Answer struct {
	Order   string    `json:"order"`
	Outcome Outcome   `json:"outcome"`
	At      time.Time `json:"at"`
}

// Order is a committed change of the producer's data.
type Order struct {
	ID    string `json:"id"`
	Event string `json:"event"` // that tells of it
	// Key is what events keep their order for, and N the order's place among the
	// orders of its key: later commits have a larger one. Empty: any order is right.
	Key string `json:"key"`
	N   int    `json:"n"`
}

// Status is the state of a row of an outbox.
type Status string

// The states. Any other one counts as pending.
const (
	Pending   Status = "pending"
	Published Status = "published"
	Dead      Status = "dead"
)

// Row is a row of an outbox.
type Row struct {
	Event  string `json:"event"`
	Status Status `json:"status"`
	Body   string `json:"body"` // or a hash of it
}

// Publication is a message that the broker had.
type Publication struct {
	Event string    `json:"event"`
	Cause string    `json:"cause"` // the event that the message names as its cause
	Body  string    `json:"body"`  // as in Row
	At    time.Time `json:"at"`
}

// Effect is a committed change of the consumer's data.
type Effect struct {
	Event    string    `json:"event"`    // that it was made for
	FollowUp string    `json:"followUp"` // the event that tells of it; empty: none
	Body     string    `json:"body"`     // of the event as it was applied, as in Row; empty: not recorded
	At       time.Time `json:"at"`
}
