package outbox

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// MarshalJSON implements json.Marshaler: names begin with a small letter,
// durations are numbers of seconds (oldestPendingSeconds), LastError is its
// text, times are in RFC 3339, and zero ones are left out. The text of an error
// may name servers and users; see HealthHandler for what strangers may read.
func (h Health) MarshalJSON() ([]byte, error) { return health.Marshal(h) }

// ErrDraining is what HealthConfig.Ready returns once the service is about to
// stop: load balancers are to send nothing more, while requests that still come
// are answered.
var ErrDraining = health.ErrDraining

// HealthConfig says what a health handler looks at. All fields are optional.
type HealthConfig struct {
	// Service is the name shown in answers.
	Service string
	// Outbox makes readiness depend on its database: that it answers, has the
	// schema, and takes messages.
	Outbox *Outbox
	// Relay tells how the relay is, usually by its method Health.
	Relay func() Health
	// Publisher tells whether there is a connection to the broker, as the
	// method Health of the publisher of outbox/rabbitmq does. A relay with nothing
	// to publish does not notice.
	Publisher func() (connected bool, err error)
	// Ready is asked as well, and before the Outbox: for what else the service
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
// Live is 200 until the relay has failed for good. Ready is 200 while messages
// can be enqueued, else 503; how the relay is does not decide, as an outbox is
// there to take messages while the broker is away. The answers are JSON and
// name kinds of trouble only, never addresses, users or statements: the logger
// hears those. Questions that come at once share one look at the database.
func HealthHandler(cfg HealthConfig) http.Handler {
	h := &health.Handler{
		Service: cfg.Service, Part: "relay",
		Timeout: cmp.Or(cfg.Timeout, health.DefaultTimeout),
		Log:     cmp.Or(cfg.Logger, slog.Default()),
	}
	if cfg.Ready != nil {
		h.Ready = append(h.Ready, cfg.Ready)
	}
	if cfg.Outbox != nil {
		h.Ready = append(h.Ready, cfg.Outbox.CheckReady)
	}
	if cfg.Relay != nil {
		h.Health = func() any { return cfg.health() }
		h.Failed = func() error {
			if h := cfg.Relay(); h.State == RelayStopped {
				return h.LastError
			}
			return nil
		}
	}
	if cfg.Publisher != nil {
		h.Connected = func() bool { connected, _ := cfg.Publisher(); return connected }
	}
	return h
}

// health is the relay's, and what the publisher knows before it.
func (cfg HealthConfig) health() Health {
	h := cfg.Relay()
	if cfg.Publisher == nil {
		return h
	}
	if _, err := cfg.Publisher(); err != nil && h.State != RelayStopped {
		h.LastError = Unavailable(err)
		if h.State == RelayRunning {
			h.State, h.Since = RelayDegraded, time.Time{}
		}
	}
	return h
}

// CheckReady returns nil while messages can be enqueued: the database answers
// and takes writes, the schema is there, and this user may store messages. It
// leaves nothing behind. On SQLite it does not wait for other writers.
func (o *Outbox) CheckReady(ctx context.Context) error {
	return o.store.CheckReady(ctx, "ready")
}
