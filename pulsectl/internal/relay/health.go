package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Limits of a request for health, and of the wait for those in flight at the end.
const (
	requestLimit  = 5 * time.Second
	idleLimit     = time.Minute
	shutdownLimit = 3 * time.Second
	maxHeader     = 16 << 10
)

// healthServer answers /health/live and /health/ready.
type healthServer struct {
	ln     net.Listener
	server *http.Server
}

// listen returns the server of health; nil: none is wanted.
func (p *Process) listen() (*healthServer, error) {
	if p.cfg.HealthAddr == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", p.cfg.HealthAddr)
	if err != nil {
		return nil, fail.New(fail.General, "choose another address: --health-addr 127.0.0.1:0, or off", "health: %v", err)
	}
	p.log.Info("serving health", "url", "http://"+ln.Addr().String()+"/health/")
	mux := http.NewServeMux()
	mux.Handle("/health/", outbox.HealthHandler(outbox.HealthConfig{
		Service: p.cfg.Publisher.Producer, Outbox: p.outbox, Relay: p.relay.Health, Publisher: p.publisher.Health,
		Ready: p.ready, Logger: p.log,
	}))
	return &healthServer{ln, &http.Server{
		Handler: mux, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		ReadTimeout: requestLimit, WriteTimeout: requestLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHeader,
	}}, nil
}

// ready returns why the process should not count as working, beside what the
// database says.
func (p *Process) ready(context.Context) error {
	if p.draining.Load() {
		return outbox.ErrDraining
	}
	return nil
}

// serve answers until the relay has ended, so that it can be seen while it drains.
func (s *healthServer) serve(ended <-chan struct{}) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve health on %s: %w", s.ln.Addr(), err)
	case <-ended:
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	<-served
	return err
}
