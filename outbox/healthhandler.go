package outbox

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// MarshalJSON implements json.Marshaler: names begin with a lower-case
// letter, durations are numbers of seconds (oldestPendingSeconds), LastError is its
// text, times are in RFC 3339, and zero times are omitted. The text of an error may
// contain names of servers and users; HealthHandler does not expose it.
func (h Health) MarshalJSON() ([]byte, error) { return health.Marshal(h) }

// ErrDraining is what HealthConfig.Ready returns once the service is about to
// stop: load balancers should send no more requests, and requests that still arrive
// are served.
var ErrDraining = health.ErrDraining

// HealthConfig holds the settings of HealthHandler. All are optional.
type HealthConfig struct {
	// Service is the name of the service in responses.
	Service string
	// Outbox makes readiness depend on its database, see Outbox.CheckReady.
	Outbox *Outbox
	// Relay returns the relay's health: its method Health, or Relays.Total.
	Relay func() Health
	// Publisher reports whether there is a connection to the broker, as the method
	// Health of the publisher of outbox/rabbitmq does. A relay that has nothing to
	// publish does not notice that it is lost.
	Publisher func() (connected bool, err error)
	// Ready is called for readiness before the Outbox is checked, for whatever else
	// the service needs, such as tables of its own. It may be called concurrently.
	// ErrDraining makes the status draining.
	Ready func(context.Context) error
	// Timeout limits the check of readiness. Defaults to 1.5 s.
	Timeout time.Duration
	// Logger receives the reason why the service is not ready. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// HealthHandler serves liveness and readiness over HTTP, selected by the last part
// of the path: mount it as "/health/" and request /health/live and /health/ready.
//
// Live is 200 until the relay has failed permanently. Ready is 200 while messages
// can be enqueued, else 503; it does not depend on the state of the relay, as the
// purpose of an outbox is to accept messages while the broker is down. Responses
// are JSON and contain the kind of a problem, never addresses, users or statements,
// which are logged. Concurrent requests share one check of the database.
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

// health returns the relay's health, degraded if the publisher reports an error.
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

// CheckReady returns nil if messages can be enqueued: the database answers and
// accepts writes, the schema is up to date, and this user may insert messages. It
// writes nothing. On SQLite it does not wait for other writers.
func (o *Outbox) CheckReady(ctx context.Context) error {
	return o.store.CheckReady(ctx, "ready")
}
