package outbox

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/internal/health"
)

// Publisher hands messages to a broker. outbox/rabbitmq has one; the suite in
// outboxtest holds every implementation to what the relay relies on.
type Publisher interface {
	// Publish sends msgs, those of one topic in their order, and returns once the
	// verdict on each is known or ctx ends: a slice as long as msgs, nil where
	// the broker has taken charge of the message and routed it to a queue, else an
	// error of one of the classes below. It is called by several lanes at once and
	// must not keep msgs after it has returned.
	//
	// Where the broker gives verdicts on some topics and none on others, Publish
	// should not wait much longer for these, and answer ErrUnavailable: the relay
	// sets a topic aside when all its messages in a call are unavailable while
	// others are not, or while a Pinger says that the broker answers.
	//
	// A message over which the broker hangs up takes the verdicts of others with
	// it. The publisher should find it, by sending what has no verdict one by
	// one, and answer ErrPermanent. Where it does not, the relay sends fewer at a
	// time, and counts a message as rejected that alone never gets a verdict while
	// others of its topic do.
	//
	// An error of no class counts as Rejected.
	Publish(ctx context.Context, msgs []Message) []error
}

// Pinger is what a Publisher should be besides. By it the relay tells a broker
// that is away from one that gives no verdicts on some topics, and learns
// whether to take leases back that it has left to other relays. Without it the
// relay finds out by sending messages.
type Pinger interface {
	// Ping asks the broker for a sign of life, now, over the connection that
	// Publish uses. An error says that nothing could be published at present.
	Ping(ctx context.Context) error
}

// The classes of a verdict. They decide whether an attempt is counted, what
// waits, and what is dead.
var (
	// ErrUnavailable: nothing is known about the message, because the broker
	// is unreachable, blocked, lacks the exchange, was lost before it answered,
	// or does not answer. No attempt is counted; the relay backs off as a whole or,
	// where the broker does answer on other topics, from this topic.
	ErrUnavailable error = health.Public("broker unavailable")
	// ErrRejected: the broker refused the message (a nack). An attempt is
	// counted, and the message is retried with backoff.
	ErrRejected error = health.Public("rejected by the broker")
	// ErrUnroutable: no queue is bound for the message (a return). Handled as
	// ErrRejected: it goes out by itself once a binding exists.
	ErrUnroutable error = health.Public("unroutable")
	// ErrPermanent: the message cannot be sent at all. It is dead at once and
	// kept until someone retries or discards it.
	ErrPermanent error = health.Public("cannot be published")
)

// Unavailable marks err as ErrUnavailable. A nil err gives the bare class.
func Unavailable(err error) error { return classify(ErrUnavailable, err) }

// Rejected marks err as ErrRejected. A nil err gives the bare class.
func Rejected(err error) error { return classify(ErrRejected, err) }

// Unroutable marks err as ErrUnroutable. A nil err gives the bare class.
func Unroutable(err error) error { return classify(ErrUnroutable, err) }

// Permanent marks err as ErrPermanent. A nil err gives the bare class.
func Permanent(err error) error { return classify(ErrPermanent, err) }

// IsUnavailable reports whether err says that the broker gave no verdict.
func IsUnavailable(err error) bool { return errors.Is(err, ErrUnavailable) }

// IsPermanent reports whether err says that retrying is of no use.
func IsPermanent(err error) bool { return errors.Is(err, ErrPermanent) }

func classify(class, err error) error {
	if err == nil {
		return class
	}
	if errors.Is(err, class) {
		return err
	}
	return &publishError{class, err}
}

// publishError is an error under its class.
type publishError struct{ class, err error }

func (e *publishError) Error() string   { return e.class.Error() + ": " + e.err.Error() }
func (e *publishError) Unwrap() []error { return []error{e.class, e.err} }
