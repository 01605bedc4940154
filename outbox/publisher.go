package outbox

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/internal/health"
)

// Publisher sends messages to a broker. Package outbox/rabbitmq has one;
// outboxtest.RunPublisherSuite tests an implementation.
type Publisher interface {
	// Publish sends msgs, keeping the order within each topic, and returns when the
	// outcome of each is known or ctx ends. The result is as long as msgs: nil if
	// the broker has accepted the message and routed it to a queue, else an error
	// of one of the classes below. Publish is called concurrently and must not keep
	// msgs after it has returned.
	//
	// If the broker confirms messages of some topics and not of others, Publish
	// should not wait much longer for the latter, and return ErrUnavailable for
	// them. The relay suspends a topic if all its messages in a call are
	// unavailable while others are not, or while Ping succeeds.
	//
	// If the broker closes the connection because of one message, the outcome of
	// others is lost as well. The publisher should find that message, by sending
	// those without an outcome one by one, and return ErrPermanent for it.
	// Otherwise the relay sends fewer messages per call, and counts an attempt for
	// a message that never gets an outcome alone while others of its topic do; it is
	// never dead for that alone.
	//
	// An error of no class counts as ErrRejected.
	Publish(ctx context.Context, msgs []Message) []error
}

// Pinger is an optional interface of a Publisher, which is recommended. With it the
// relay distinguishes a broker that is down from one that does not confirm some
// topics, and knows when to take leases again that it has left to other relays.
// Without it the relay finds out by sending messages.
type Pinger interface {
	// Ping returns nil if the broker answers now, over the connection that Publish
	// uses. An error means that nothing could be published at present.
	Ping(ctx context.Context) error
}

// Endpoint says where a publisher publishes to, for spans and metrics. Fields that
// are empty or zero are not known.
type Endpoint struct {
	System      string // messaging.system of OpenTelemetry, such as "rabbitmq"
	Destination string // such as the exchange
	Address     string // of the broker that is connected, as server.address
	Port        int
}

// Describer is an optional interface of a Publisher.
type Describer interface {
	// Endpoint returns where messages go at present. It must not block.
	Endpoint() Endpoint
}

// Classes of errors of Publisher.Publish. The class decides whether an attempt is
// counted, and whether the message is retried.
var (
	// ErrUnavailable: the outcome is unknown, because the broker is unreachable,
	// blocks publishers, lacks the exchange, or did not answer. No attempt is
	// counted. The relay backs off as a whole or, if the broker confirms other
	// topics, suspends this topic.
	ErrUnavailable error = health.Public("broker unavailable")
	// ErrRejected: the broker refused the message (a nack). An attempt is
	// counted, and the message is retried with backoff.
	ErrRejected error = health.Public("rejected by the broker")
	// ErrUnroutable: no queue is bound for the message (a return). It is handled as
	// ErrRejected, and published when there is a binding.
	ErrUnroutable error = health.Public("unroutable")
	// ErrPermanent: the message cannot be sent. It is marked dead at once, and kept
	// until it is retried or discarded.
	ErrPermanent error = health.Public("cannot be published")
)

// Unavailable returns err wrapped in ErrUnavailable, or ErrUnavailable if err is nil.
func Unavailable(err error) error { return classify(ErrUnavailable, err) }

// Rejected returns err wrapped in ErrRejected, or ErrRejected if err is nil.
func Rejected(err error) error { return classify(ErrRejected, err) }

// Unroutable returns err wrapped in ErrUnroutable, or ErrUnroutable if err is nil.
func Unroutable(err error) error { return classify(ErrUnroutable, err) }

// Permanent returns err wrapped in ErrPermanent, or ErrPermanent if err is nil.
func Permanent(err error) error { return classify(ErrPermanent, err) }

// IsUnavailable reports whether err is ErrUnavailable.
func IsUnavailable(err error) bool { return errors.Is(err, ErrUnavailable) }

// IsPermanent reports whether err is ErrPermanent.
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
