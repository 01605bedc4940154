package rabbit

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// The states of a supervised connection, in metrics.
const (
	stateConnected    = "connected"
	stateBlocked      = "blocked" // connected, and the broker takes no messages
	stateDisconnected = "disconnected"
)

var states = []string{stateConnected, stateBlocked, stateDisconnected}

// watch measures a supervised connection.
type watch struct {
	reconnects metric.Int64Counter
	attributes *telemetry.Set
	states     map[string]*telemetry.Set
	end        func()

	mu   sync.Mutex
	conn *Conn // nil: there is none
	had  bool  // there was one before
}

// newWatch begins to measure, until end is called. Without a meter nothing is
// measured.
func newWatch(ctx context.Context, cfg Config) *watch {
	w := &watch{end: func() {}}
	if cfg.Meter == nil {
		return w
	}
	m := telemetry.NewConnection(cfg.Meter)
	system, name := telemetry.SystemKey.String(System), telemetry.ConnectionKey.String(cfg.Name)
	w.reconnects, w.attributes, w.states = m.Reconnects, telemetry.NewSet(system, name), make(map[string]*telemetry.Set)
	for _, state := range states {
		w.states[state] = telemetry.NewSet(system, name, telemetry.StateKey.String(state))
	}
	w.reconnects.Add(ctx, 0, w.attributes.Add...) // so that the first is seen to be added
	w.end = telemetry.Watch(cfg.Meter, func(o metric.Observer) {
		current := w.state()
		for state, set := range w.states {
			n := int64(0)
			if state == current {
				n = 1
			}
			o.ObserveInt64(m.State, n, set.Observe...)
		}
	}, m.State)
	return w
}

// connected notes a new connection, and lost its end.
func (w *watch) connected(ctx context.Context, conn *Conn) {
	w.mu.Lock()
	again := w.had
	w.conn, w.had = conn, true
	w.mu.Unlock()
	if again && w.reconnects != nil {
		w.reconnects.Add(ctx, 1, w.attributes.Add...)
	}
}

func (w *watch) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = nil
}

func (w *watch) state() string {
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	if conn == nil {
		return stateDisconnected
	}
	if reason, _ := conn.Blocked(); reason != "" {
		return stateBlocked
	}
	return stateConnected
}
