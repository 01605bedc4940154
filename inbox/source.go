package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source delivers the messages of one queue and settles them. inbox/rabbitmq
// has one; the suite in inboxtest tests that an implementation does what the
// consumer relies on.
type Source interface {
	// Consume delivers on the returned channel until ctx ends and then closes
	// it. No more than prefetch deliveries of one connection are unsettled at
	// any time. It keeps trying while the broker is unavailable; an error is one
	// that retrying cannot mend, such as a queue declared with other arguments.
	// A channel that is closed before ctx ends means the same.
	Consume(ctx context.Context, prefetch int) (<-chan Delivery, error)
	// Settle carries out settlements, in their order where the broker keeps
	// one, and returns the outcomes by index: nil when the broker has it; a
	// *DivertedError when the broker has it, by another action than asked for;
	// ErrStale when the delivery is no longer ours and will be redelivered; any
	// other error when nothing has changed and Settle may be called again.
	// A settlement without a valid Action is refused, see Action.Check. Settle
	// works on after the context of Consume has ended, and is called by
	// several workers at once.
	Settle(ctx context.Context, settlements []Settlement) []error
}

// Endpoint says where a source consumes, for spans and metrics. Fields that are
// empty or zero are not known.
type Endpoint struct {
	System      string // messaging.system of OpenTelemetry, such as "rabbitmq"
	Destination string // such as the queue
	Address     string // of the broker that is connected, as server.address
	Port        int
}

// Describer is an optional interface of a Source.
type Describer interface {
	// Endpoint returns where deliveries come from at present. It must not block.
	Endpoint() Endpoint
}

// Delivery is one copy of a message, to be settled exactly once.
type Delivery struct {
	// Message as decoded. With Err set only what could be read.
	Message Message
	// Err says why no message could be decoded; nil on a good delivery.
	Err error
	// Failures of handling counted on earlier deliveries of this copy.
	Failures int
	// Redelivered: the broker handed this copy out before. False proves nothing.
	Redelivered bool
	// Handle is the source's own.
	Handle any

	received int64 // for countingSource
}

// Action says how a delivery is settled.
type Action int

// The actions. There is none for dropping a message, and zero is none of them,
// so that a forgotten Settlement.Action cannot acknowledge.
const (
	// ActionAck: applied, or known as a duplicate.
	ActionAck Action = iota + 1
	// ActionRetry: delivered again after Settlement.Delay, with one more failure counted.
	ActionRetry
	// ActionDeadLetter: moved to the dead-letter queue with its history.
	ActionDeadLetter
	// ActionRequeue: requeued unchanged, for the next consumer.
	ActionRequeue
)

// Check returns an error if a is none of the actions, as the zero value is.
// Sources answer it for the settlement and change nothing.
func (a Action) Check() error {
	if a < ActionAck || a > ActionRequeue {
		return fmt.Errorf("%v: not an action of package inbox; zero means that Settlement.Action was not set", a)
	}
	return nil
}

// String returns the action as logs name it.
func (a Action) String() string {
	switch a {
	case ActionAck:
		return "ack"
	case ActionRetry:
		return "retry"
	case ActionDeadLetter:
		return "dead-letter"
	case ActionRequeue:
		return "requeue"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// Settlement is an action on a delivery.
type Settlement struct {
	Delivery Delivery
	Action   Action
	Delay    time.Duration // ActionRetry: at least this long, rounded up to the source's next retry delay
	Reason   Reason        // ActionRetry and ActionDeadLetter
	Err      error         // ActionRetry and ActionDeadLetter: what went wrong
	// Uncounted, on ActionRetry: the message is not at fault. It is delivered again with
	// the failures and the history it came with.
	Uncounted bool

	process *process // in which it was decided on; nil: none
}

// Reason says why a message is retried or dead-lettered; it travels in the
// header pulse-reason.
type Reason string

// The reasons. Handlers may use others.
const (
	ReasonHandler     Reason = "handler"      // the handler failed, or asked for it
	ReasonUndecodable Reason = "undecodable"  // no message could be read from the delivery
	ReasonConflict    Reason = "conflict"     // the event id was applied with another payload, type or topic
	ReasonCrashLoop   Reason = "crash-loop"   // it crashed the process each time
	ReasonContract    Reason = "contract"     // the payload breaks its message contract
	ReasonSignature   Reason = "signature"    // not signed or encrypted as the consumer wants it, see ConsumerConfig.Opener
	ReasonExpired     Reason = "expired"      // too old to be of use
	ReasonUnknownType Reason = "unknown-type" // the consumer has no handler for its type
)

// DivertedError is the outcome of a settlement that could not be carried out
// as asked: the message is settled, by another action.
type DivertedError struct {
	Action Action // what was done: ActionDeadLetter where a retry was impossible, ActionRetry where the dead letters took no more
	Err    error  // why
}

func (e *DivertedError) Error() string { return fmt.Sprintf("settled by %v: %v", e.Action, e.Err) }
func (e *DivertedError) Unwrap() error { return e.Err }

// ErrStale says that the connection a delivery came on is gone; the broker will
// deliver the message again.
var ErrStale = errors.New("delivery is stale")
