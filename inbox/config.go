package inbox

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Values with a meaning of their own.
const (
	// Unlimited as ConsumerConfig.MaxAttempts retries for ever.
	Unlimited = -1
	// NoLinger as ConsumerConfig.Linger takes what is there and never waits.
	NoLinger time.Duration = -1
	// KeepForever as ConsumerConfig.Retention never purges.
	KeepForever time.Duration = -1
)

// ConsumerConfig are the settings of a Consumer. The zero value is ready for
// use. What is out of range is refused, never clamped.
type ConsumerConfig struct {
	// Workers handle messages side by side. Messages of one key always meet
	// the same worker, in their order. Each uses one database connection, so
	// let the pool have that many and two more. Defaults to 4.
	Workers int
	// Prefetch is how many deliveries the source may hand out unsettled. With
	// fewer than a batch for each worker batches stay small. Defaults to two
	// batches for each worker, one that is applied and one that waits, or to four
	// messages for each if that is more; to 65,535 at the most.
	Prefetch int
	// BatchSize is how many messages share one transaction at most, 10,000 at
	// the most. 1 gives each its own: right for handlers that take long, or that
	// change their session. Defaults to 100, and to 1 where the handler claims
	// for itself.
	BatchSize int
	// Linger is how long a worker waits for its batch to fill. Defaults to 2 ms.
	Linger time.Duration
	// MaxAttempts is the number of failures after which a message is
	// dead-lettered. Defaults to 10; Unlimited retries without end. A relay's
	// zero is unlimited instead: what a broker refuses is mended at the broker and
	// can then be published, while a handler that fails ten times fails for good.
	MaxAttempts int
	// Backoff is the wait after the given number of failures (from 1), rounded
	// up to the source's next retry delay. Defaults to one second
	// doubled by each failure, at most ten minutes; see ExponentialBackoff.
	Backoff func(failures int) time.Duration
	// HandlerTimeout ends the context of a handler that takes longer, and with it
	// every statement of its Tx; that counts as a failure. A handler that has not
	// returned five seconds later is left behind. Between two statements of a
	// transaction PostgreSQL may wait for this time and 15 s, then it ends the
	// session, unless it has a stricter idle_in_transaction_session_timeout.
	// Defaults to one minute.
	HandlerTimeout time.Duration
	// CrashLimit is how often a redelivered message may be started without
	// being finished before it counts as taking the process down and goes to
	// the dead-letter queue. Defaults to 3.
	CrashLimit int
	// Retention is how long what was applied is remembered, and so how late a
	// copy may come. Defaults to 30 days.
	Retention time.Duration
	// PurgeInterval is the time between purges; one that fails is tried again within
	// seconds. Defaults to 10 minutes.
	PurgeInterval time.Duration
	// ShutdownTimeout is how long work in flight may take once Run's context
	// has ended. Defaults to 20 s.
	ShutdownTimeout time.Duration
	// Opener checks the signature of each message, or decrypts it, before anything
	// else looks at its payload; package outbox/wire/seal has one. A message that does
	// not pass is dead-lettered at once with ReasonSignature, if the error matches
	// wire.ErrSignature, or ReasonUndecodable; what becomes a dead letter is what has
	// travelled. Copies are compared as they travelled too. Defaults to none: an
	// encrypted message then reaches the handler as it is.
	Opener wire.Decoder
	// Contracts check each message before its handler is called; see
	// outbox/wire/contract. One that breaks its contract is dead-lettered at once
	// with ReasonContract and the path of the fault (ReasonUndecodable if it cannot be
	// read), and no other message of its batch is held up. A message without a version counts as version 1, and one that
	// is newer than all known as the newest of these: what was only added to passes.
	// Defaults to none.
	Contracts wire.Contracts
	// Inbox is the one in which the handlers of NewConsumerFunc claim, and in
	// whose database the consumer reports what it holds, see Inbox.Instances;
	// without one, nobody can tell an idle consumer from one that holds messages.
	// NewConsumer has its own.
	Inbox *Inbox
	// MeterProvider makes the meter of the consumer's metrics, which
	// docs/observability.md lists. Defaults to OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
	// TracerProvider makes the tracer of the consumer's spans. Defaults to
	// OpenTelemetry's global one.
	TracerProvider trace.TracerProvider
	// ContinueTrace makes the span in which a message was created the parent of the
	// one in which it is processed, so that a single trace leads from the producer
	// through all consumers. Defaults to a trace for each attempt, with a link to
	// that span. A batch always has a trace of its own, with links.
	ContinueTrace bool
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// maxBatch bounds what one statement claims.
const maxBatch = 10_000

// defaultBackoff is that of ConsumerConfig.
var defaultBackoff = ExponentialBackoff(time.Second, 10*time.Minute)

// ExponentialBackoff returns a ConsumerConfig.Backoff that starts with first
// and doubles up to limit. Nothing of it is random, as sources round it up to
// the delay of a retry queue.
func ExponentialBackoff(first, limit time.Duration) func(failures int) time.Duration {
	return func(failures int) time.Duration {
		wait := first
		for range failures - 1 {
			if wait >= limit {
				break
			}
			wait *= 2
		}
		return min(wait, limit)
	}
}

// withDefaults returns c with its zero values filled in, or every problem at
// once.
func (c ConsumerConfig) withDefaults() (ConsumerConfig, error) {
	var problems []error
	number := func(field string, value *int, otherwise int) {
		if *value < 0 {
			problems = append(problems, fmt.Errorf("%s: %d; must be positive, or 0 for %d", field, *value, otherwise))
		}
		if *value == 0 {
			*value = otherwise
		}
	}
	span := func(field string, value *time.Duration, otherwise time.Duration) {
		if *value < 0 {
			problems = append(problems, fmt.Errorf("%s: %v; must be positive, or 0 for %v", field, *value, otherwise))
		}
		if *value == 0 {
			*value = otherwise
		}
	}
	number("Workers", &c.Workers, 4)
	number("BatchSize", &c.BatchSize, 100)
	number("Prefetch", &c.Prefetch, max(min(2*c.BatchSize*c.Workers, math.MaxUint16), 4*c.Workers))
	number("CrashLimit", &c.CrashLimit, 3)
	span("HandlerTimeout", &c.HandlerTimeout, time.Minute)
	span("PurgeInterval", &c.PurgeInterval, 10*time.Minute)
	span("ShutdownTimeout", &c.ShutdownTimeout, 20*time.Second)
	if c.MaxAttempts != Unlimited {
		number("MaxAttempts", &c.MaxAttempts, 10)
	}
	if c.Linger != NoLinger {
		span("Linger", &c.Linger, 2*time.Millisecond)
	}
	if c.Retention != KeepForever {
		span("Retention", &c.Retention, 30*24*time.Hour)
	}
	if c.BatchSize > maxBatch {
		problems = append(problems, fmt.Errorf("BatchSize: %d; at most %d", c.BatchSize, maxBatch))
	}
	if c.Backoff == nil {
		c.Backoff = defaultBackoff
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, errors.Join(problems...)
}

// retries returns how often a failed message is tried and how long it waits:
// what its route says, else what the consumer does.
func (c ConsumerConfig) retries(err error) (maxAttempts int, backoff func(failures int) time.Duration) {
	maxAttempts, backoff = c.MaxAttempts, c.Backoff
	if route, ok := errors.AsType[*routeError](err); ok {
		maxAttempts = cmp.Or(route.maxAttempts, maxAttempts)
		if route.backoff != nil {
			backoff = route.backoff
		}
	}
	return maxAttempts, backoff
}
