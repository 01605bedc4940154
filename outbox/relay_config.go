package outbox

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/backoff"
	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// Special values of RelayConfig.Retention.
const (
	// DeleteOnPublish deletes a message instead of marking it published. Discarded
	// messages are kept for DefaultRetention.
	DeleteOnPublish time.Duration = -2
	// KeepForever disables purging; see Outbox.Purge.
	KeepForever time.Duration = -1
)

// DefaultRetention is how long published and discarded messages are kept
// unless RelayConfig.Retention says otherwise.
const DefaultRetention = 7 * 24 * time.Hour

// Bounds of what can be set.
const (
	maxBatchSize = 10_000
	minLeaseTTL  = 100 * time.Millisecond
)

// RelayConfig holds the settings of a Relay. All are optional.
type RelayConfig struct {
	// Owner names the relay in leases, logs and Relays. It must differ from
	// that of every other relay of this outbox. Defaults to host name, process
	// id and a random part.
	Owner string
	// Producer is the name of the service that owns the outbox. The first relay with
	// a name claims the outbox for it; a relay with another name publishes nothing
	// and reports ErrProducer in its health. Defaults to the result of the
	// publisher's method Producer() string, if it has one, as that of
	// outbox/rabbitmq does. Without a name the check is off.
	Producer string
	// Lanes is how many batches are published concurrently. Each lane uses a
	// database connection while it reads or writes; the pool should keep four more
	// idle connections than lanes. At most 64. Defaults to 4.
	Lanes int
	// BatchSize is how many messages a lane reads at once, at most 10,000.
	// Defaults to 500.
	BatchSize int
	// BatchBytes is the most bytes of payloads that a lane reads at once: large
	// messages make a batch shorter, and one that is larger than this goes alone.
	// What a relay holds in memory at any time is at most Lanes times as much.
	// Defaults to 4 MiB.
	BatchBytes int
	// KeyWindow is how many messages of one key and topic are sent at once. With 1,
	// each waits for the confirm of the one before, which bounds the rate of one key.
	// With more, a message that the broker refuses (it is nacked, returned or too
	// large) does not block those of its key that were sent with it: up to KeyWindow-1 later
	// messages can be published before it. Outages keep the order. At most BatchSize.
	// Defaults to 1.
	KeyWindow int
	// PollInterval is how long a lane waits after a read that did not fill its
	// batch. Defaults to 100 ms.
	PollInterval time.Duration
	// MaxPollInterval is the upper limit to which PollInterval doubles while there
	// are no messages. Wake ends the wait. Defaults to 1 s, or PollInterval if that
	// is longer.
	MaxPollInterval time.Duration
	// LeaseTTL is how long leases on buckets last; they are renewed every quarter
	// of it. It is the time until others take over from a relay that was killed. At
	// least 100 ms. Defaults to 15 s.
	LeaseTTL time.Duration
	// PublishTimeout bounds one call of Publisher.Publish. Defaults to 1 min.
	PublishTimeout time.Duration
	// SweepInterval is how often the relay looks for messages that its lanes have
	// passed by, such as those of long transactions. Defaults to 5 s.
	SweepInterval time.Duration
	// Grace is how old a row must be before a lane reads on from behind it. It should
	// be longer than transactions that enqueue usually take. Defaults to 2 s.
	Grace time.Duration
	// Retention is how long published and discarded messages are kept, or one
	// of DeleteOnPublish and KeepForever. Defaults to DefaultRetention.
	Retention time.Duration
	// PurgeInterval is how often one of the relays deletes what is older than
	// Retention; what fails is tried again within seconds. Defaults to 1 min.
	PurgeInterval time.Duration
	// ShutdownTimeout is how long Run waits, after its context has ended, for the
	// messages that are being published. Defaults to 30 s.
	ShutdownTimeout time.Duration
	// MaxAttempts is how often the broker may refuse a message before it is marked
	// dead. Defaults to 0: there is no limit, because a refusal says something about
	// a queue (full, not bound) more often than about the message.
	// inbox.ConsumerConfig.MaxAttempts differs, as a handler's error is mostly
	// about the message.
	MaxAttempts int
	// Backoff returns how long a message waits after the given attempt, counted from
	// 1, has failed; a negative duration counts as 0. It is called concurrently.
	// Defaults to DefaultBackoff, and to RejectedBackoff for ErrRejected.
	Backoff func(attempt int) time.Duration
	// MeterProvider makes the meter of the relay's metrics, which
	// docs/observability.md lists. Defaults to OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
	// TracerProvider makes the tracer of the relay's spans. Defaults to
	// OpenTelemetry's global one.
	TracerProvider trace.TracerProvider
	// Logger receives changes of state and failures. Messages that are published are
	// not logged. Defaults to slog.Default().
	Logger *slog.Logger

	name string // of the outbox among others, in metrics
}

// DefaultBackoff doubles from one second to one minute. Up to a third of it is
// random, so that messages that failed together are not retried together.
func DefaultBackoff(attempt int) time.Duration {
	return backoff.Exponential{First: 1500 * time.Millisecond, Longest: time.Minute, Growth: 1}.After(attempt)
}

// RejectedBackoff quadruples from one second to five minutes, with a random part
// like that of DefaultBackoff. It is longer because a message whose topic is bound
// to several queues, one of which is full, leaves a copy in the others with each
// attempt.
func RejectedBackoff(attempt int) time.Duration {
	return backoff.Exponential{First: 1500 * time.Millisecond, Longest: 5 * time.Minute, Growth: 2}.After(attempt)
}

// backoff returns how long a message waits that has failed with err.
func (c RelayConfig) backoff(attempt int, err error) time.Duration {
	switch {
	case c.Backoff != nil:
		return c.Backoff(attempt)
	case errors.Is(err, ErrRejected):
		return RejectedBackoff(attempt)
	}
	return DefaultBackoff(attempt)
}

func (c RelayConfig) withDefaults() RelayConfig {
	if c.Owner == "" {
		c.Owner = fmt.Sprintf("%s-%d-%s", hostname(), os.Getpid(), strings.ToLower(rand.Text()[:6]))
	}
	c.Lanes = cmp.Or(c.Lanes, 4)
	c.BatchSize = cmp.Or(c.BatchSize, 500)
	c.BatchBytes = cmp.Or(c.BatchBytes, 4<<20)
	c.KeyWindow = cmp.Or(c.KeyWindow, 1)
	c.PollInterval = cmp.Or(c.PollInterval, 100*time.Millisecond)
	c.MaxPollInterval = cmp.Or(c.MaxPollInterval, max(time.Second, c.PollInterval))
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 15*time.Second)
	c.PublishTimeout = cmp.Or(c.PublishTimeout, time.Minute)
	c.SweepInterval = cmp.Or(c.SweepInterval, 5*time.Second)
	c.Grace = cmp.Or(c.Grace, 2*time.Second)
	c.Retention = cmp.Or(c.Retention, DefaultRetention)
	c.PurgeInterval = cmp.Or(c.PurgeInterval, time.Minute)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// problems returns everything that is wrong with c, defaults filled in.
func (c RelayConfig) problems() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(c.Owner) > 255 || !utf8.ValidString(c.Owner) || strings.ContainsRune(c.Owner, 0) {
		add("Owner: must be at most 255 bytes of UTF-8 text without NUL")
	}
	if len(c.Producer) > 255 || !utf8.ValidString(c.Producer) || strings.ContainsRune(c.Producer, 0) {
		add("Producer: must be at most 255 bytes of UTF-8 text without NUL")
	}
	if c.Lanes < 0 || c.Lanes > buckets {
		add("Lanes: %d; must be 1 to %d, or 0 for the default", c.Lanes, buckets)
	}
	if c.BatchSize < 0 || c.BatchSize > maxBatchSize {
		add("BatchSize: %d; must be 1 to %d, or 0 for the default", c.BatchSize, maxBatchSize)
	}
	if c.BatchBytes < 0 {
		add("BatchBytes: %d; must be positive, or 0 for the default", c.BatchBytes)
	}
	if c.KeyWindow < 0 || c.KeyWindow > max(c.BatchSize, 1) {
		add("KeyWindow: %d; must be 1 to BatchSize, %d, or 0 for the default", c.KeyWindow, c.BatchSize)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"PollInterval", c.PollInterval}, {"MaxPollInterval", c.MaxPollInterval}, {"PublishTimeout", c.PublishTimeout},
		{"SweepInterval", c.SweepInterval}, {"Grace", c.Grace}, {"PurgeInterval", c.PurgeInterval},
		{"ShutdownTimeout", c.ShutdownTimeout},
	} {
		if d.value < 0 {
			add("%s: %v; must be positive, or 0 for the default", d.field, d.value)
		}
	}
	if c.MaxPollInterval >= 0 && c.MaxPollInterval < c.PollInterval {
		add("MaxPollInterval: %v; must not be less than PollInterval, %v", c.MaxPollInterval, c.PollInterval)
	}
	if c.LeaseTTL < minLeaseTTL {
		add("LeaseTTL: %v; must be at least %v, or 0 for the default", c.LeaseTTL, minLeaseTTL)
	}
	if c.Retention < 0 && c.Retention != DeleteOnPublish && c.Retention != KeepForever {
		add("Retention: %v; must be positive, DeleteOnPublish, KeepForever, or 0 for the default", c.Retention)
	}
	if c.MaxAttempts < 0 {
		add("MaxAttempts: %d; must be positive, or 0 for no end", c.MaxAttempts)
	}
	return errors.Join(problems...)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// libraryVersion is what a relay tells of its version.
func libraryVersion() string { return cmp.Or(telemetry.Version(), "devel") }
