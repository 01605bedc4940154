// Package control lets one process inject faults into the broker and the
// consumer inside another: an HTTP endpoint on loopback, protected by a token
// that only the owner of the state file can read.
package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// Fault is the JSON form of a fault.
type Fault struct {
	Kind       devbroker.FaultKind `json:"kind"`
	Delay      time.Duration       `json:"delay,omitempty"`
	Count      int                 `json:"count,omitempty"`
	Queue      string              `json:"queue,omitempty"`
	RoutingKey string              `json:"routingKey,omitempty"`
	Since      time.Time           `json:"since,omitzero"`
}

const (
	timeout    = 15 * time.Second // of one call, on either side
	maxRequest = 64 << 10
)

// Server serves the endpoint of one process.
type Server struct {
	broker   *devbroker.Broker
	poison   *Poison
	token    string
	listener net.Listener
	http     http.Server
}

// Listen opens an endpoint on a free loopback port. The caller runs Serve.
func Listen(broker *devbroker.Broker, poison *Poison) (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("control endpoint: %w", err)
	}
	s := &Server{broker: broker, poison: poison, token: rand.Text(), listener: ln}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", s.list)
	mux.HandleFunc("POST /faults", s.inject)
	mux.HandleFunc("DELETE /faults", s.clear)
	mux.HandleFunc("POST /restart", s.restart)
	s.http = http.Server{
		Handler:     http.TimeoutHandler(s.authorised(mux), timeout, "the broker did not answer in time"),
		ReadTimeout: timeout, WriteTimeout: 2 * timeout, MaxHeaderBytes: maxRequest,
	}
	return s, nil
}

// URL returns the address of the endpoint.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Token returns the token that a Client must send.
func (s *Server) Token() string { return s.token }

// Serve serves until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control endpoint: %w", err)
	}
	return nil
}

func (s *Server) authorised(next http.Handler) http.Handler {
	want := []byte("Bearer " + s.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	faults := []Fault{}
	for _, f := range s.broker.Faults() {
		faults = append(faults, Fault(f))
	}
	if since := s.poison.active(); !since.IsZero() {
		faults = append(faults, Fault{Kind: FaultPoisonHandler, Since: since})
		slices.SortStableFunc(faults, func(a, b Fault) int { return a.Since.Compare(b.Since) })
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(faults)
}

func (s *Server) inject(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&f); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.Kind == FaultPoisonHandler {
		s.poison.inject()
		answer(w, nil)
		return
	}
	answer(w, s.broker.Inject(devbroker.Fault(f)))
}

func (s *Server) clear(w http.ResponseWriter, r *http.Request) {
	given := r.URL.Query()["kind"]
	var kinds []devbroker.FaultKind // of the broker
	for _, k := range given {
		if kind := devbroker.FaultKind(k); kind != FaultPoisonHandler {
			kinds = append(kinds, kind)
		}
	}
	if len(given) == 0 || len(kinds) < len(given) {
		s.poison.clear()
	}
	if len(given) > 0 && len(kinds) == 0 {
		answer(w, nil)
		return
	}
	answer(w, s.broker.Clear(kinds...))
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	answer(w, s.broker.Restart(r.Context()))
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Client calls the endpoint of a running stack.
type Client struct{ URL, Token string }

// Faults lists the active faults, the oldest first.
func (c Client) Faults(ctx context.Context) (faults []Fault, err error) {
	return faults, c.call(ctx, http.MethodGet, "/faults", nil, &faults)
}

// Inject starts a fault.
func (c Client) Inject(ctx context.Context, f Fault) error {
	return c.call(ctx, http.MethodPost, "/faults", f, nil)
}

// Clear ends faults of a kind, or all if kind is empty.
func (c Client) Clear(ctx context.Context, kind devbroker.FaultKind) error {
	path := "/faults"
	if kind != "" {
		path += "?kind=" + string(kind)
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Restart stops the broker and starts it again.
func (c Client) Restart(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/restart", nil, nil)
}

func (c Client) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("control endpoint: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxRequest))
		return fmt.Errorf("the broker refuses: %s", bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}
