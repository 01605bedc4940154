package devbroker

import (
	"fmt"
	"math"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// overflow is what a full queue does with one message more.
type overflow string

const (
	dropHead         overflow = "drop-head"
	rejectPublish    overflow = "reject-publish"
	rejectPublishDLX overflow = "reject-publish-dlx" // as drop-head on quorum queues, as in RabbitMQ 3.10
)

const (
	// none stands for a limit that is not set.
	none = -1
	// maxMilliseconds is the longest time that RabbitMQ accepts, and keeps sums with the clock from overflowing.
	maxMilliseconds = 1<<32 - 1
)

// queueSettings is what a queue's arguments mean.
type queueSettings struct {
	quorum               bool
	ttl, expires         int64 // milliseconds
	maxLength, maxBytes  int64
	deliveryLimit        int64
	maxPriority          int64
	deadLetterTo         *string // exchange; nil: drop
	deadLetterKey        *string // nil: as published
	overflow             overflow
	keepDeadLetters      bool // at-least-once: they stay until they can be routed
	singleActiveConsumer bool
}

// argumentsOf lists the arguments that only one type of queue has. RabbitMQ refuses them on the other.
var argumentsOf = map[string][]string{
	"rabbit_classic_queue": {"x-queue-mode", "x-queue-version", "x-max-priority"},
	"rabbit_quorum_queue": {"x-delivery-limit", "x-dead-letter-strategy", "x-quorum-initial-group-size",
		"x-max-in-memory-length", "x-max-in-memory-bytes"},
}

// comparedArguments are those that a second declaration must repeat. Others are kept and ignored.
var comparedArguments = append(append([]string{
	"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length",
	"x-max-length-bytes", "x-overflow", "x-single-active-consumer"},
	argumentsOf["rabbit_classic_queue"]...), argumentsOf["rabbit_quorum_queue"]...)

// queueArguments reads the arguments of the queue called what, such as "queue 'q' in vhost '/'".
func queueArguments(what string, args wire.Table) (queueSettings, error) {
	r := argumentReader{what: what, args: args}
	s := queueSettings{
		ttl:       r.integer("x-message-ttl", 0, maxMilliseconds),
		expires:   r.integer("x-expires", 1, maxMilliseconds),
		maxLength: r.integer("x-max-length", 0, math.MaxInt64), maxBytes: r.integer("x-max-length-bytes", 0, math.MaxInt64),
		deadLetterTo:         r.name("x-dead-letter-exchange"),
		deadLetterKey:        r.name("x-dead-letter-routing-key"),
		overflow:             overflow(r.choice("x-overflow", "invalid_overflow", string(dropHead), string(rejectPublish), string(rejectPublishDLX))),
		singleActiveConsumer: r.boolean("x-single-active-consumer"),
		deliveryLimit:        none, maxPriority: none,
	}
	foreign := "rabbit_quorum_queue"
	switch kind := r.queueType(); kind {
	case "classic":
		s.maxPriority = r.integer("x-max-priority", 0, math.MaxInt64)
		if s.maxPriority > 255 {
			r.invalid("x-max-priority", fmt.Sprintf("{max_value_exceeded,%d}", s.maxPriority))
		}
	case "quorum":
		s.quorum, foreign = true, "rabbit_classic_queue"
		s.deliveryLimit = max(none, r.anyInteger("x-delivery-limit"))
		strategy := r.choice("x-dead-letter-strategy", "invalid_dead_letter_strategy", "at-most-once", "at-least-once")
		// RabbitMQ falls back to at-most-once, too, unless publishes to the queue can be refused.
		s.keepDeadLetters = strategy == "at-least-once" && s.overflow == rejectPublish && s.deadLetterTo != nil
	case "stream":
		r.fail(notImplemented("queue type 'stream' is not supported by devbroker, for %s", what))
	default:
		r.invalid("x-queue-type", fmt.Sprintf("\"unsupported queue type '%s'\"", kind))
	}
	for _, key := range argumentsOf[foreign] {
		if _, ok := args[key]; ok {
			r.fail(preconditionFailed("invalid arg '%s' for %s of queue type %s", key, what, ownType(s.quorum)))
		}
	}
	if s.deadLetterKey != nil && s.deadLetterTo == nil {
		r.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")
	}
	return s, r.err
}

func ownType(quorum bool) string {
	if quorum {
		return "rabbit_quorum_queue"
	}
	return "rabbit_classic_queue"
}

// argumentReader reads a queue's arguments; the first error sticks.
type argumentReader struct {
	what string
	args wire.Table
	err  error
}

func (r *argumentReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *argumentReader) invalid(key, why string) {
	r.fail(preconditionFailed("invalid arg '%s' for %s: %s", key, r.what, why))
}

func (r *argumentReader) anyInteger(key string) int64 {
	v, ok := r.args[key]
	if !ok {
		return none
	}
	n, ok := integer(v)
	if !ok {
		r.invalid(key, fmt.Sprintf("\"expected integer, got %s\"", fieldType(v)))
	}
	return n
}

// integer reads an integer from least to most, or none.
func (r *argumentReader) integer(key string, least, most int64) int64 {
	if _, ok := r.args[key]; !ok {
		return none
	}
	switch n := r.anyInteger(key); {
	case n < 0:
		r.invalid(key, fmt.Sprintf("{value_negative,%d}", n))
	case n < least:
		r.invalid(key, fmt.Sprintf("{value_zero,%d}", n))
	case n > most:
		r.invalid(key, fmt.Sprintf("{value_too_large,%d}", n))
	default:
		return n
	}
	return none
}

func (r *argumentReader) name(key string) *string {
	v, ok := r.args[key]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		r.fail(preconditionFailed("invalid type '%s' for arg '%s' in %s", fieldType(v), key, r.what))
	}
	return &s
}

// choice reads one of the values allowed; the first one is the default.
func (r *argumentReader) choice(key, complaint string, allowed ...string) string {
	v, ok := r.args[key]
	if !ok {
		return allowed[0]
	}
	s, ok := v.(string)
	if !ok {
		r.unacceptable(key, v)
		return ""
	}
	for _, value := range allowed {
		if s == value {
			return s
		}
	}
	r.invalid(key, complaint)
	return ""
}

func (r *argumentReader) boolean(key string) bool {
	v, ok := r.args[key]
	b, isBool := v.(bool)
	if ok && !isBool {
		r.unacceptable(key, v)
	}
	return b
}

func (r *argumentReader) queueType() string {
	v, ok := r.args["x-queue-type"]
	if !ok {
		return "classic"
	}
	s, ok := v.(string)
	if !ok {
		r.unacceptable("x-queue-type", v)
	}
	return s
}

func (r *argumentReader) unacceptable(key string, v any) {
	r.invalid(key, fmt.Sprintf("{unacceptable_type,%s}", fieldType(v)))
}

// differingArgument compares the arguments of a second declaration with the first, as RabbitMQ does: integers of any
// width are equal if their values are.
func differingArgument(key, what string, current, received wire.Table) error {
	have, had := current[key]
	want, wanted := received[key]
	switch {
	case had != wanted:
		return preconditionFailed("inequivalent arg '%s' for %s: received %s but current is %s",
			key, what, described(want, wanted), described(have, had))
	case !had || sameField(have, want):
		return nil
	case fieldClass(have) == fieldClass(want):
		return preconditionFailed("inequivalent arg '%s' for %s: received '%v' but current is '%v'", key, what, want, have)
	}
	return preconditionFailed("inequivalent arg '%s' for %s: received %s but current is %s",
		key, what, described(want, true), described(have, true))
}

func described(v any, present bool) string {
	if !present {
		return "none"
	}
	return fmt.Sprintf("the value '%v' of type '%s'", v, fieldType(v))
}
