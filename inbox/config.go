package inbox

import (
	"log/slog"
	"time"
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
	// the same worker, in their order. Each uses one database connection.
	// Defaults to 4.
	Workers int
	// Prefetch is how many deliveries the source may hand out unsettled.
	// Defaults to three batches, and at least 4 for each worker.
	Prefetch int
	// BatchSize is how many messages share one transaction at most. 1 gives
	// each its own: right for handlers that take long. Defaults to 100.
	BatchSize int
	// Linger is how long a worker waits for its batch to fill. Defaults to 2 ms.
	Linger time.Duration
	// MaxAttempts is the number of failures after which a message goes to the
	// dead-letter queue. Defaults to 10.
	MaxAttempts int
	// Backoff is the wait after the given number of failures (from 1), rounded
	// up to the next rung of the source's ladder. Defaults to ExponentialBackoff(time.Second, 10*time.Minute).
	Backoff func(failures int) time.Duration
	// HandlerTimeout ends the context of a handler that takes longer, which
	// counts as a failure. Defaults to one minute.
	HandlerTimeout time.Duration
	// CrashLimit is how often a redelivered message may be started without
	// being finished before it counts as taking the process down and goes to
	// the dead-letter queue. Defaults to 3.
	CrashLimit int
	// Retention is how long what was applied is remembered, and so how late a
	// copy may come. Defaults to 30 days.
	Retention time.Duration
	// PurgeInterval is the time between purges. Defaults to 10 minutes.
	PurgeInterval time.Duration
	// ShutdownTimeout is how long work in flight may take once Run's context
	// has ended. Defaults to 20 s.
	ShutdownTimeout time.Duration
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}
