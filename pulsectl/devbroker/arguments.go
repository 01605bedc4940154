package devbroker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// overflow is the behaviour of a full queue for another message.
type overflow string

const (
	dropHead         overflow = "drop-head"
	rejectPublish    overflow = "reject-publish"
	rejectPublishDLX overflow = "reject-publish-dlx" // as drop-head on quorum queues, as in RabbitMQ 3.10
)

const (
	// none means that a limit is not set.
	none = -1
	// maxMilliseconds is the longest time that RabbitMQ accepts, ten years.
	maxMilliseconds = 315_360_000_000
)

// queueSettings are the parsed arguments of a queue.
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

// argumentsOf lists the arguments of each type of queue. RabbitMQ refuses those
// of other types.
var argumentsOf = map[string][]string{
	"rabbit_classic_queue": {"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length",
		"x-max-length-bytes", "x-max-priority", "x-overflow", "x-queue-mode", "x-queue-version", "x-single-active-consumer",
		"x-queue-type", "x-queue-master-locator"},
	"rabbit_quorum_queue": {"x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-expires",
		"x-max-length", "x-max-length-bytes", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-overflow",
		"x-single-active-consumer", "x-queue-type", "x-quorum-initial-group-size", "x-delivery-limit", "x-message-ttl",
		"x-queue-leader-locator"},
	"rabbit_stream_queue": {"x-max-length-bytes", "x-queue-type", "x-max-age", "x-stream-max-segment-size-bytes",
		"x-initial-cluster-size", "x-queue-leader-locator"},
}

// consumerArgumentsOf is the same for consumers.
var consumerArgumentsOf = map[string][]string{
	"rabbit_classic_queue": {"x-cancel-on-ha-failover", "x-priority", "x-credit"},
	"rabbit_quorum_queue":  {"x-priority", "x-credit"},
	"rabbit_stream_queue":  {"x-stream-offset", "x-credit"},
}

// foreignArgument returns an argument that only other types of queue have, or "".
func foreignArgument(of map[string][]string, own string, args wire.Table) string {
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		for _, key := range of[kind] {
			if _, ok := args[key]; ok && !slices.Contains(of[own], key) {
				return key
			}
		}
	}
	return ""
}

// comparedArguments are the arguments that a second declaration must repeat.
// Others are stored and ignored.
var comparedArguments = []string{
	"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-max-length",
	"x-max-length-bytes", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-max-priority", "x-overflow", "x-queue-mode",
	"x-queue-version", "x-single-active-consumer", "x-quorum-initial-group-size", "x-delivery-limit", "x-queue-leader-locator",
}

// queueArguments parses the arguments of the queue called what, such as "queue
// 'q' in vhost '/'", in the same order as RabbitMQ.
func queueArguments(what string, args wire.Table) (queueSettings, error) {
	r := argumentReader{what: what, args: args}
	s := queueSettings{deliveryLimit: none, maxPriority: none}
	switch kind := r.queueType(); kind {
	case "classic":
	case "quorum":
		s.quorum = true
	case "stream":
		r.fail(notImplemented("queue type 'stream' is not supported by devbroker, for %s", what))
	default:
		r.invalid("x-queue-type", fmt.Sprintf("\"unsupported queue type '%s'\"", kind))
	}
	if key := foreignArgument(argumentsOf, ownType(s.quorum), args); key != "" {
		r.fail(preconditionFailed("invalid arg '%s' for %s of queue type %s", key, what, ownType(s.quorum)))
	}
	s.deadLetterTo = r.name("x-dead-letter-exchange")
	s.expires = r.time("x-expires", 1)
	s.ttl = r.time("x-message-ttl", 0)
	s.deadLetterKey = r.deadLetterKey()
	strategy := r.choice("x-dead-letter-strategy", "invalid_dlx_strategy", "at-most-once", "at-least-once")
	s.maxLength, s.maxBytes = r.integer("x-max-length", 0), r.integer("x-max-length-bytes", 0)
	r.integer("x-max-in-memory-length", 0)
	r.integer("x-max-in-memory-bytes", 0)
	if s.maxPriority = r.integer("x-max-priority", 0); s.maxPriority > 255 {
		r.invalid("x-max-priority", fmt.Sprintf("{max_value_exceeded,%d}", s.maxPriority))
	}
	s.overflow = overflow(r.choice("x-overflow", "invalid_overflow", string(dropHead), string(rejectPublish), string(rejectPublishDLX)))
	r.choice("x-queue-mode", "\"unsupported queue mode '%s'\"", "default", "lazy")
	if version := r.integer("x-queue-version", 0); version == 0 || version > 2 {
		r.invalid("x-queue-version", fmt.Sprintf("\"unsupported queue version '%d'\"", version))
	}
	s.singleActiveConsumer = r.boolean("x-single-active-consumer")
	r.integer("x-quorum-initial-group-size", 1)
	r.choice("x-queue-leader-locator", "invalid_queue_locator_arg", "client-local", "balanced", "random", "least-leaders")
	if limit, ok := integer(args["x-delivery-limit"]); ok { // anything else is no limit
		s.deliveryLimit = max(none, limit)
	}
	// RabbitMQ falls back to at-most-once, too, unless publishes to the queue can be refused.
	s.keepDeadLetters = s.quorum && strategy == "at-least-once" && s.overflow == rejectPublish && s.deadLetterTo != nil
	return s, r.err
}

func ownType(quorum bool) string {
	if quorum {
		return "rabbit_quorum_queue"
	}
	return "rabbit_classic_queue"
}

// argumentReader parses a queue's arguments and keeps the first error.
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

// integer parses an integer of at least least, or none.
func (r *argumentReader) integer(key string, least int64) int64 {
	if _, ok := r.args[key]; !ok {
		return none
	}
	switch n := r.anyInteger(key); {
	case n < 0:
		r.invalid(key, fmt.Sprintf("{value_negative,%d}", n))
	case n < least:
		r.invalid(key, fmt.Sprintf("{value_zero,%d}", n))
	default:
		return n
	}
	return none
}

// time parses a time in milliseconds, like integer.
func (r *argumentReader) time(key string, least int64) int64 {
	ms := r.integer(key, least)
	if ms > maxMilliseconds {
		r.invalid(key, fmt.Sprintf("{value_too_large,%d}", ms))
	}
	return ms
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

func (r *argumentReader) deadLetterKey() *string {
	const key = "x-dead-letter-routing-key"
	v, ok := r.args[key]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		r.unacceptable(key, v)
	} else if _, ok := r.args["x-dead-letter-exchange"]; !ok {
		r.invalid(key, "routing_key_but_no_dlx_defined")
	}
	return &s
}

// choice parses one of the allowed values; the first is the default. complaint
// may name the value that is not allowed.
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
	r.invalid(key, strings.ReplaceAll(complaint, "%s", s))
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

// differingArgument compares the arguments of a second declaration with the
// first, as RabbitMQ does: integers of different width are equal if their
// values are.
func differingArgument(key, what string, current, received wire.Table) error {
	have, had := current[key]
	want, wanted := received[key]
	switch {
	case had != wanted:
		return preconditionFailed("inequivalent arg '%s' for %s: received %s but current is %s",
			key, what, described(want, wanted), described(have, had))
	case !had || sameField(have, want):
		return nil
	}
	return preconditionFailed("inequivalent arg '%s' for %s: received '%v' but current is '%v'", key, what, want, have)
}

func described(v any, present bool) string {
	if !present {
		return "none"
	}
	return fmt.Sprintf("the value '%v' of type '%s'", v, fieldType(v))
}
