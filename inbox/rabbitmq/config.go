package rabbitmq

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/metric"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// SourceConfig names a queue, what flows into it, and how failed messages
// wait for their next attempt.
type SourceConfig struct {
	// URL of the broker: amqp://user:password@host:5672/vhost, or amqps:// for
	// TLS. Several brokers of a cluster are separated by commas, as in
	// amqp://user:password@one:5672,two:5672/vhost: they are tried in random
	// order, beginning with the next one after each loss. Required without
	// GetURL.
	URL string
	// GetURL, if set, is asked for the URL at each attempt to connect, in place
	// of URL. An error is a failure to connect, and tried again.
	GetURL func(context.Context) (string, error)
	// Credentials, if set, is asked for user and password at each attempt to
	// connect, in place of those in the URL: for passwords that are rotated. An
	// error is a failure to connect, and tried again; it is logged, so it must
	// hold no secret. It is called from several goroutines.
	Credentials func(context.Context) (user, password string, err error)
	// TLS is used with amqps. Defaults to the system's certificate authorities.
	TLS *tls.Config
	// GetTLS, if set, is asked for TLS at each attempt to connect, in place of
	// TLS: for certificates and authorities that are rotated. nil, nil stands
	// for the defaults. It is called from several goroutines.
	GetTLS func(context.Context) (*tls.Config, error)
	// Queue that is consumed. Required.
	Queue string
	// Exchange the queue is bound to, a durable one. Defaults to "pulse.events".
	Exchange string
	// ExchangeType is "topic", "direct", "fanout", "headers", or the type of a
	// plugin, such as "x-consistent-hash". Defaults to "topic". An exchange with
	// arguments is used with the Topology Verify or None.
	ExchangeType string
	// Topics are the binding keys, wildcards * and # allowed on a topic exchange;
	// on a headers exchange they are compared with the header pulse-topic. A fanout
	// exchange has none. Defaults to the name of the queue. A binding that is no
	// longer listed stays until it is removed by hand.
	Topics []string
	// MatchHeaders are the bindings to a headers exchange, in place of Topics: a
	// message comes through one of them if it has all of its headers with these
	// values, or any of them if the entry "x-match" is "any". Values are strings,
	// bools and numbers; nil stands for any value.
	MatchHeaders []map[string]any
	// QueueArguments are further arguments of the queue that is consumed, such as
	// x-max-length or x-queue-leader-locator. Values are strings, bools and
	// integers. What the source sets itself is refused unless it is the same; so is
	// what would lose messages: x-expires, and on Classic queues a maximum length
	// and x-message-ttl. (A full Quorum queue refuses messages, which stay with
	// their publisher; a retry that falls due then is tried again every few
	// minutes. Expired messages become dead letters.)
	QueueArguments map[string]any
	// QueueType of all queues declared here. Defaults to Quorum.
	QueueType QueueType
	// RetryDelays are the delays between attempts, ascending; each has a retry queue
	// of its own. Defaults to DefaultRetryDelays.
	RetryDelays []time.Duration
	// SingleActiveConsumer lets one consumer at a time have the deliveries,
	// the others stand by: order across instances, at the price of sharing.
	SingleActiveConsumer bool
	// Topology says what to do about exchange, queues and bindings. Defaults to
	// Declare.
	Topology Topology
	// Consumer is written to the header pulse-consumer of retries and dead letters
	// and shown by the broker as the name of the connections. Defaults to the
	// name of the queue.
	Consumer string
	// ConfirmTimeout bounds the wait for the broker to confirm a message on its
	// way to a retry or dead-letter queue. Defaults to 10 s.
	ConfirmTimeout time.Duration
	// PrefetchBytes bounds the messages that are in memory, unsettled, beside the
	// number that the consumer asks for: once they exceed it the source reads on
	// only when some are settled. Defaults to 32 MiB.
	PrefetchBytes int
	// Interpret completes messages of producers with conventions of their own,
	// such as an id in a header or a compressed body; the functions are called in
	// their order, by several goroutines when there are several subscriptions. See
	// Interpreter.
	Interpret []Interpreter
	// Heartbeat is how often both sides prove to be alive. Defaults to 10 s.
	Heartbeat time.Duration
	// DialTimeout bounds one attempt to connect. Defaults to 10 s.
	DialTimeout time.Duration
	// MeterProvider makes the meter of the connections' metrics; those of
	// messages are the consumer's. Defaults to OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
	// Logger hears of connections, subscriptions and what is wrong with them.
	// Defaults to slog.Default().
	Logger *slog.Logger
}

// QueueType is how the broker stores a queue.
type QueueType int

// The queue types.
const (
	// Quorum queues are replicated, and their retry queues lose nothing even
	// while the consumer's queue is missing. RabbitMQ 3.10 or later.
	Quorum QueueType = iota
	// Classic queues live on one node. A retry that falls due while the
	// consumer's queue does not exist is lost.
	Classic
)

// String returns the name the broker knows the type by.
func (q QueueType) String() string {
	switch q {
	case Quorum:
		return "quorum"
	case Classic:
		return "classic"
	}
	return fmt.Sprintf("QueueType(%d)", int(q))
}

// What the broker's tools show behind the consumer's name.
const (
	forRepublishing = " (republisher)"
	forInspection   = " (inspector)"
)

const (
	maxName     = math.MaxUint8                // bytes in a name, by AMQP
	maxConsumer = maxName - len(forInspection) // its name begins that of a connection
	maxDelay    = math.MaxUint32               // milliseconds in a TTL, by RabbitMQ

	defaultPrefetchBytes = 32 << 20
)

// problems returns everything that is wrong with the configuration, defaults
// filled in.
func (c SourceConfig) problems() error {
	connection := c.connection("")
	connection.Name = "" // the consumer's is checked below
	all := []error{connection.Validate()}
	report := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	name := func(field, value string) {
		switch {
		case strings.TrimSpace(value) == "":
			report("%s: is empty", field)
		case strings.HasPrefix(value, "amq."):
			report("%s: %q; names with amq. are the broker's own", field, value)
		case len(value) > maxName:
			report("%s: %d bytes, at most %d are allowed", field, len(value), maxName)
		}
	}
	name("Queue", c.Queue)
	name("Exchange", c.Exchange)
	for i, topic := range c.Topics {
		name(fmt.Sprintf("Topics[%d]", i), topic)
	}
	all = append(all, c.routingProblems()...)
	if c.QueueType != Quorum && c.QueueType != Classic {
		report("QueueType: %v; use Quorum or Classic", c.QueueType)
	}
	for i, delay := range c.RetryDelays {
		switch {
		case delay < time.Millisecond || delay%time.Millisecond != 0:
			report("RetryDelays[%d]: %v; whole milliseconds, at least 1ms", i, delay)
		case delay.Milliseconds() > maxDelay:
			report("RetryDelays[%d]: %v; the broker keeps a message at most %v", i, delay, maxDelay*time.Millisecond)
		case i > 0 && delay <= c.RetryDelays[i-1]:
			report("RetryDelays[%d]: %v does not exceed %v before it; list them ascending, each once", i, delay, c.RetryDelays[i-1])
		}
	}
	for _, r := range QueueNames(c.Queue, c.RetryDelays).Retry {
		if len(c.Queue) <= maxName && len(r.Queue) > maxName {
			report("Queue: too long, its retry queue %q has %d bytes, at most %d are allowed", r.Queue, len(r.Queue), maxName)
			break
		}
	}
	if err := rabbit.TopologyMode(c.Topology).Validate(); err != nil {
		report("Topology: %w", err)
	}
	if len(c.Consumer) > maxConsumer {
		report("Consumer: %d bytes, at most %d are allowed", len(c.Consumer), maxConsumer)
	}
	if c.ConfirmTimeout < 0 {
		report("ConfirmTimeout: %v; must not be negative", c.ConfirmTimeout)
	}
	if c.PrefetchBytes < 0 {
		report("PrefetchBytes: %d; must be positive, or 0 for %d", c.PrefetchBytes, defaultPrefetchBytes)
	}
	all = append(all, c.argumentProblems()...)
	for i, each := range c.Interpret {
		if each == nil {
			report("Interpret[%d]: is nil", i)
		}
	}
	return errors.Join(all...)
}

func (c SourceConfig) withDefaults() SourceConfig {
	c.Exchange = cmp.Or(c.Exchange, wire.Exchange)
	c.Consumer = cmp.Or(c.Consumer, c.Queue)
	c.ConfirmTimeout = cmp.Or(c.ConfirmTimeout, 10*time.Second)
	c.PrefetchBytes = cmp.Or(c.PrefetchBytes, defaultPrefetchBytes)
	c.ExchangeType = cmp.Or(c.ExchangeType, amqp.ExchangeTopic)
	if len(c.Topics) == 0 && len(c.MatchHeaders) == 0 && c.ExchangeType != amqp.ExchangeFanout {
		c.Topics = []string{c.Queue}
	}
	c.QueueArguments = normalArguments(c.QueueArguments)
	if c.QueueArguments[argSingleActive] == true {
		c.SingleActiveConsumer = true
	}
	c.MatchHeaders = slices.Clone(c.MatchHeaders)
	for i, headers := range c.MatchHeaders {
		c.MatchHeaders[i] = normalArguments(headers)
	}
	if len(c.RetryDelays) == 0 {
		c.RetryDelays = DefaultRetryDelays()
	}
	c.Topics, c.RetryDelays = slices.Clone(c.Topics), slices.Clone(c.RetryDelays)
	c.Interpret = slices.Clone(c.Interpret)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// connection is how to reach the broker for a purpose.
func (c SourceConfig) connection(purpose string) rabbit.Config {
	return rabbit.Config{
		URL:         c.URL,
		GetURL:      c.GetURL,
		Credentials: c.Credentials,
		TLS:         c.TLS,
		GetTLS:      c.GetTLS,
		Name:        c.Consumer + purpose,
		Heartbeat:   c.Heartbeat,
		DialTimeout: c.DialTimeout,
		Logger:      c.Logger,
	}
}
