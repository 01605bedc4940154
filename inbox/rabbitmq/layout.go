package rabbitmq

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Layout is the exchange, queues and bindings of a Source, as the mode Declare creates them: for
// those who create exchange and queues by other means.
type Layout struct {
	Exchange Exchange  `json:"exchange"`
	Queues   []Queue   `json:"queues"` // the consumed one first, then the dead letters, then the retry queues
	Bindings []Binding `json:"bindings"`
}

// Exchange is a durable exchange.
type Exchange struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Queue is a durable queue. Every argument is needed; see Layout.
type Queue struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"` // values are string, bool or int64
	Purpose   string         `json:"purpose"`

	kind queueKind
}

// Binding leads messages from an exchange to a queue.
type Binding struct {
	Exchange   string         `json:"exchange"`
	RoutingKey string         `json:"routingKey"`
	Queue      string         `json:"queue"`
	Arguments  map[string]any `json:"arguments,omitempty"` // of a headers exchange
}

// queueKind is what a queue is for.
type queueKind int

const (
	consumedQueue queueKind = iota
	deadLetterQueue
	retryQueue
)

// LayoutOf returns the layout for cfg on a broker of the given version, such
// as "3.10.8"; empty stands for 3.x. What it depends on the version for is the
// delivery limit, which RabbitMQ 4 sets unless told otherwise.
func LayoutOf(cfg SourceConfig, version string) (Layout, error) {
	cfg = cfg.withDefaults()
	if err := cfg.problems(); err != nil {
		return Layout{}, fmt.Errorf("rabbitmq layout: %w", err)
	}
	return newLayout(cfg, majorVersion(version) >= 4), nil
}

// Arguments of queues, as RabbitMQ names them.
const (
	argType          = "x-queue-type"
	argTTL           = "x-message-ttl"
	argDLX           = "x-dead-letter-exchange"
	argDLKey         = "x-dead-letter-routing-key"
	argStrategy      = "x-dead-letter-strategy"
	argOverflow      = "x-overflow"
	argDeliveryLimit = "x-delivery-limit"
	argSingleActive  = "x-single-active-consumer"
	argMaxLength     = "x-max-length"
	argMaxBytes      = "x-max-length-bytes"

	argMatch = "x-match" // of a binding
)

// newLayout makes the layout. limited: the broker drops messages at their 20th
// return unless a queue says otherwise. To a 3.x server the same -1 means the
// first return, so it is never told.
func newLayout(cfg SourceConfig, limited bool) Layout {
	names := QueueNames(cfg.Queue, cfg.RetryDelays)
	l := Layout{Exchange: Exchange{Name: cfg.Exchange, Type: cfg.ExchangeType}, Bindings: cfg.bindings()}
	add := func(kind queueKind, name, purpose string, args map[string]any) {
		args[argType] = cfg.QueueType.String()
		if cfg.QueueType == Quorum && limited {
			args[argDeliveryLimit] = int64(-1)
		}
		l.Queues = append(l.Queues, Queue{Name: name, Arguments: args, Purpose: purpose, kind: kind})
	}

	args := map[string]any{}
	if cfg.QueueType == Quorum {
		// A policy may set a delivery limit all the same: then the broker is
		// to keep what it takes away. Keeping for sure demands reject-publish.
		args = passOn(names.DeadLetters)
	}
	if cfg.SingleActiveConsumer {
		args[argSingleActive] = true
	}
	maps.Copy(args, cfg.QueueArguments)
	add(consumedQueue, names.Queue, "messages to be handled", args)
	// Full, it refuses dead letters, which stay where they are; the default
	// would drop the oldest.
	add(deadLetterQueue, names.DeadLetters, "messages that were dead-lettered", map[string]any{argOverflow: "reject-publish"})
	for _, r := range names.Retry {
		// A queue holds each message for the delay and then passes it to the
		// consumer's queue through the default exchange, where no other queue
		// can be bound. A quorum queue keeps the message until that one has
		// it; a classic one passes it on at most once.
		args := map[string]any{argDLX: "", argDLKey: names.Queue}
		if cfg.QueueType == Quorum {
			args = passOn(names.Queue)
		}
		args[argTTL] = r.Delay.Milliseconds()
		add(retryQueue, r.Queue, fmt.Sprintf("messages that wait %v for their next attempt", r.Delay), args)
	}
	return l
}

// passOn are the arguments by which a quorum queue hands what leaves it, other
// than by an acknowledgement, to another queue, and loses none of it.
func passOn(to string) map[string]any {
	return map[string]any{argDLX: "", argDLKey: to, argStrategy: "at-least-once", argOverflow: "reject-publish"}
}

// Definitions returns the layout in the format of "rabbitmqctl
// import_definitions" and of "rabbitmqadmin import", for a virtual host.
func (l Layout) Definitions(vhost string) ([]byte, error) {
	type table = map[string]any
	queues := make([]table, len(l.Queues))
	for i, q := range l.Queues {
		queues[i] = table{"name": q.Name, "vhost": vhost, "durable": true, "auto_delete": false, "arguments": q.Arguments}
	}
	bindings := make([]table, len(l.Bindings))
	for i, b := range l.Bindings {
		args := b.Arguments
		if args == nil {
			args = table{}
		}
		bindings[i] = table{"source": b.Exchange, "vhost": vhost, "destination": b.Queue, "destination_type": "queue",
			"routing_key": b.RoutingKey, "arguments": args}
	}
	return json.MarshalIndent(table{
		"exchanges": []table{{"name": l.Exchange.Name, "vhost": vhost, "type": l.Exchange.Type,
			"durable": true, "auto_delete": false, "internal": false, "arguments": table{}}},
		"queues": queues, "bindings": bindings,
	}, "", "  ")
}

// majorVersion returns the first number of a version, or 0.
func majorVersion(version string) int {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}
