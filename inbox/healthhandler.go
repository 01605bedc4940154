package inbox

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// MarshalJSON implements json.Marshaler: names begin with a small letter,
// durations are numbers of seconds, LastError is its text, times are in
// RFC 3339, and zero ones are left out. The text of an error may name servers
// and users; see HealthHandler for what strangers may read.
func (h Health) MarshalJSON() ([]byte, error) { return health.Marshal(h) }

// ErrDraining is what HealthConfig.Ready returns once the service is about to
// stop: load balancers are to send nothing more, while requests that still come
// are answered.
var ErrDraining = health.ErrDraining

// HealthConfig are the settings of HealthHandler. All fields are optional.
type HealthConfig struct {
	// Service is the name shown in answers.
	Service string
	// Inbox makes readiness depend on its database: that it answers, has the
	// schema, and takes the notes of what is applied.
	Inbox *Inbox
	// Consumer returns the state of the consumer, usually its method Health.
	Consumer func() Health
	// Source reports whether there is a connection to the broker, as the method
	// Health of the source of inbox/rabbitmq does.
	Source func() (connected bool, err error)
	// Ready is asked as well, and before the Inbox: for what else the service
	// needs, such as tables of its own. It may be called from several goroutines.
	// ErrDraining makes the status draining.
	Ready func(context.Context) error
	// Timeout bounds the look that readiness takes. Defaults to 1.5 s.
	Timeout time.Duration
	// Logger hears why the service is not ready. Defaults to slog.Default().
	Logger *slog.Logger
}

// HealthHandler answers liveness and readiness over HTTP, by the last part of
// the path: mount it as "/health/", and ask /health/live and /health/ready.
//
// Live is 200 until the consumer has failed for good. Ready is 200 while events
// can be applied, else 503; the broker does not decide, as the service's API
// works while that is away. The answers are JSON and name kinds of trouble
// only, never addresses, users or statements: the logger hears those. Questions
// that come at once share one look at the database.
func HealthHandler(cfg HealthConfig) http.Handler {
	h := &health.Handler{
		Service: cfg.Service, Part: "consumer",
		Timeout: cmp.Or(cfg.Timeout, health.DefaultTimeout),
		Log:     cmp.Or(cfg.Logger, slog.Default()),
	}
	if cfg.Ready != nil {
		h.Ready = append(h.Ready, cfg.Ready)
	}
	if cfg.Inbox != nil {
		h.Ready = append(h.Ready, cfg.Inbox.CheckReady)
	}
	if cfg.Consumer != nil {
		h.Health = func() any { return cfg.health() }
		h.Failed = func() error {
			if h := cfg.Consumer(); h.State == Stopped {
				return h.LastError
			}
			return nil
		}
	}
	if cfg.Source != nil {
		h.Connected = func() bool { connected, _ := cfg.Source(); return connected }
	}
	return h
}

// health is the consumer's, and what the source knows before it.
func (cfg HealthConfig) health() Health {
	h := cfg.Consumer()
	if cfg.Source == nil {
		return h
	}
	if connected, err := cfg.Source(); err != nil && h.State != Stopped {
		h.LastError = err // with a connection: of something else, such as messages that no queue takes
		if !connected {
			h.LastError = &brokerError{err}
		}
		if h.State == Running {
			h.State, h.Since = Degraded, time.Time{}
		}
	}
	return h
}

// brokerError is what a source says of its connection.
type brokerError struct{ err error }

func (e *brokerError) Error() string   { return string(brokerUnavailable) + ": " + e.err.Error() }
func (e *brokerError) Unwrap() []error { return []error{brokerUnavailable, e.err} }

const brokerUnavailable health.Public = "broker unavailable"

// CheckReady returns nil while events can be applied: the database answers and
// takes writes, the schema is there, and this user may note what is applied. It
// leaves nothing behind. On SQLite it does not wait for other writers.
func (in *Inbox) CheckReady(ctx context.Context) error { return in.store.CheckReady(ctx, "ready") }
