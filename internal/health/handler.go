// Package health reports the health of relay and consumer as JSON, and over
// HTTP without addresses and names, because anyone may read that.
package health

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// DefaultTimeout limits a check by default: it is shorter than the two seconds
// after which many callers give up.
const DefaultTimeout = 1500 * time.Millisecond

// Handler answers liveness and readiness requests of orchestrators and load
// balancers, selected by the last part of the path: live and ready. It is safe
// for concurrent use. The fields are set before its first use.
type Handler struct {
	// Service is the name shown in answers. Optional.
	Service string
	// Part is the name under which Health is shown, such as relay.
	Part string
	// Health returns the struct to show. It does not affect readiness.
	// Optional.
	Health func() any
	// Connected reports whether there is a connection to the broker. Optional.
	Connected func() bool
	// Failed returns why the relay or consumer has ended and will not recover
	// by itself: then the process is not live. Optional.
	Failed func() error
	// Ready holds the checks that must return nil, in this order, for the
	// service to be ready. Concurrent requests share one run of them.
	Ready []func(context.Context) error
	// Timeout limits one run of the checks. Required.
	Timeout time.Duration
	// Log receives the full reason why the service is not ready. Required.
	Log *slog.Logger

	mu        sync.Mutex
	look      *look     // the run in progress
	busySince time.Time // the first of consecutive runs that found a file busy
}

// busyLimit is how long a SQLite file may be busy at every check before the
// service is not ready: under load one writer follows the other.
const busyLimit = 5 * time.Second

// look is one run of the checks.
type look struct {
	done chan struct{}
	err  error // set before done is closed
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, []member{{"status", "method not allowed"}})
	case path.Base(r.URL.Path) == "live":
		h.live(w)
	case path.Base(r.URL.Path) == "ready":
		h.ready(w, r)
	default:
		answer(w, http.StatusNotFound, []member{{"status", "not found"}})
	}
}

func (h *Handler) live(w http.ResponseWriter) {
	if h.Failed != nil {
		if err := h.Failed(); err != nil {
			answer(w, http.StatusServiceUnavailable, h.named("dead", member{"message", h.Part + " has ended: " + Text(err)}))
			return
		}
	}
	answer(w, http.StatusOK, h.named("live"))
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	code, status := http.StatusOK, "ready"
	database := state{Status: "ok"}
	if err := h.check(r.Context()); err != nil {
		h.Log.WarnContext(r.Context(), "not ready", "error", err)
		code, status, database = http.StatusServiceUnavailable, "unready", diagnose(err)
		if errors.Is(err, ErrDraining) {
			status, database = "draining", state{Status: "unknown", Message: "not checked: the service is stopping"}
		}
	}
	members := h.named(status, member{"database", database})
	if part, err := h.part(); err == nil && part != nil {
		members = append(members, member{h.Part, part})
	}
	answer(w, code, members)
}

// named returns the first members of an answer.
func (h *Handler) named(status string, more ...member) []member {
	members := []member{{"status", status}}
	if h.Service != "" {
		members = append(members, member{"service", h.Service})
	}
	return append(members, more...)
}

// part returns the health of the relay or consumer. It does not affect
// readiness: the service works while the broker is down.
func (h *Handler) part() (json.RawMessage, error) {
	if h.Health == nil {
		return nil, nil
	}
	raw, err := marshal(h.Health(), strangers{})
	if err != nil || h.Connected == nil {
		return raw, err
	}
	connected, err := object([]member{{"connected", h.Connected()}})
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{raw[:len(raw)-1], connected[1:]}, []byte{','}), nil
}

// check runs the checks, or waits for a run in progress.
func (h *Handler) check(ctx context.Context) error {
	h.mu.Lock()
	current := h.look
	if current == nil {
		current = &look{done: make(chan struct{})}
		h.look = current
		h.mu.Unlock()
		// The run serves all waiting requests, so it does not end with the
		// first of them.
		current.err = h.ask(context.WithoutCancel(ctx))
		h.mu.Lock()
		h.look = nil
		h.mu.Unlock()
		close(current.done)
		return current.err
	}
	h.mu.Unlock()
	select {
	case <-current.done:
		return current.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handler) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	var busy error
	for _, ready := range h.Ready {
		switch err := ready(ctx); {
		case errors.Is(err, sqldb.ErrBusy):
			busy = err
		case err != nil:
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case busy == nil:
		h.busySince = time.Time{}
	case h.busySince.IsZero():
		h.busySince = time.Now()
	case time.Since(h.busySince) > busyLimit:
		return busy
	}
	return nil
}

func answer(w http.ResponseWriter, code int, members []member) {
	body, err := object(members)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"status":"failing"}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if code == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // a client that has disconnected is not an error
}

// state is the state of the database.
type state struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

func diagnose(err error) state {
	if errors.Is(err, sqldb.ErrBusy) {
		return state{"busy", "other processes keep the database locked"}
	}
	switch sqldb.Judge(err) {
	case sqldb.SchemaBehind:
		return state{"schema", "the schema is missing or behind; run the migrations"}
	case sqldb.Outage, sqldb.Lost, sqldb.Timeout, sqldb.Transient:
		return state{"unreachable", "the database does not answer, or accepts no connections"}
	case sqldb.Full:
		return state{"full", "the database's disk is full"}
	case sqldb.ReadOnly:
		return state{"read-only", "the database accepts no writes: it is a standby, or was made read-only"}
	case sqldb.Refused:
		return state{"refused", "the database refuses the credentials, or privileges are missing"}
	case sqldb.Pooled:
		return state{"pooler", "there is a connection pooler in transaction mode; see the logs"}
	}
	return state{"failing", "the database refuses to answer; see the logs"}
}

// ErrDraining says that the service stops soon: load balancers should send no
// more requests, while it still answers those that arrive.
var ErrDraining = errors.New("draining")
