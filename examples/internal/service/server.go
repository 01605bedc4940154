package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/outbox"
)

// Limits of a connection. writeTimeout leaves room for api.RequestTimeout.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 20 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 32 << 10
)

// ErrInterrupted is the cause of a context that a person has ended, as by
// Ctrl-C: there is no load balancer to wait for.
var ErrInterrupted = errors.New("interrupted")

// Server is the life of a service: it brings the schemas, serves, tells whether
// it is ready, and ends so that no client notices.
type Server struct {
	settings Settings
	log      *slog.Logger
	db       *Database
	guard    *api.Guard
	tls      *tls.Config // nil: HTTP
	draining atomic.Bool
}

// NewServer returns a server for s, which is complete.
func NewServer(s Settings, log *slog.Logger, db *Database) *Server {
	return &Server{settings: s, log: log, db: db, guard: api.NewGuard(api.GuardConfig{Verifier: s.Auth, Limits: s.Limits, ClientCert: s.HTTPS.ClientCA != "", Logger: log})}
}

// Guard is what every request has to pass.
func (s *Server) Guard() *api.Guard { return s.guard }

// Ready returns why the service should get no requests, or nil.
func (s *Server) Ready(ctx context.Context) error {
	if s.draining.Load() {
		return outbox.ErrDraining
	}
	return s.db.CheckReady(ctx)
}

// Run is what every service does: bring the schemas, then serve h on ln beside
// work until ctx ends. ln is closed in every case; nil makes one on the address
// of the settings.
func (s *Server) Run(ctx context.Context, ln net.Listener, h http.Handler, work func(context.Context) error) error {
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", s.settings.Addr); err != nil {
			return err
		}
	}
	defer ln.Close()
	switch err := s.db.prepare(ctx, s.settings.AutoMigrate, s.settings.StartTimeout, s.log); {
	case ctx.Err() != nil:
		return nil // called off before it began
	case err != nil:
		return fmt.Errorf("prepare the database: %w", err)
	}
	if s.settings.HTTPS.on() {
		files, err := s.settings.HTTPS.open(s.log)
		if err != nil {
			return fmt.Errorf("HTTPS: %w", err)
		}
		s.tls = newTLSConfig(files)
	}
	s.log.InfoContext(ctx, "serving", "address", ln.Addr().String(), "tls", s.tls != nil)
	group, ctx := errgroup.WithContext(ctx)
	if s.settings.Auth == nil {
		s.log.WarnContext(ctx, "AUTHENTICATION IS OFF: whoever reaches this address can place orders and read everybody's", "address", ln.Addr().String())
	} else {
		group.Go(func() error { return s.settings.Auth.Run(ctx) })
	}
	group.Go(func() error { return work(ctx) })
	group.Go(func() error { return s.serve(ctx, ln, h) })
	return group.Wait()
}

// serve answers on ln until ctx ends. Then it tells load balancers so for as
// long as the drain period, lets requests in flight finish within the shutdown
// timeout, and cuts off what is left. When it returns no handler runs and ln is
// closed.
func (s *Server) serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	base, cutOff := context.WithCancelCause(api.ServedOn(context.WithoutCancel(ctx), s.settings.AllowedHosts))
	defer cutOff(nil)
	var open sync.WaitGroup // connections
	server := &http.Server{
		TLSConfig:         s.tls,
		Handler:           s.closing(api.Traced(h, s.settings.Addr)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// Serve itself reports new connections, so that once it has returned
		// the count can only fall.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateHijacked, http.StateClosed:
				open.Done()
			}
		},
	}
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(ln, "", "")
			return
		}
		served <- server.Serve(ln)
	}()
	defer open.Wait()

	gone := func(err error) error {
		return errors.Join(fmt.Errorf("serve %s: %w", ln.Addr(), err), server.Close())
	}
	select {
	case err := <-served:
		return gone(err)
	case <-ctx.Done():
	}
	if drain := s.settings.DrainPeriod; drain > 0 && !errors.Is(context.Cause(ctx), ErrInterrupted) {
		s.log.Info("draining: not ready any more, and serving on", "address", ln.Addr().String(), "period", drain.String())
		s.draining.Store(true)
		period := time.NewTimer(drain)
		defer period.Stop()
		select {
		case err := <-served:
			return gone(err)
		case <-period.C:
		}
	}
	grace := s.settings.ShutdownTimeout
	s.log.Info("stopping", "address", ln.Addr().String(), "grace", grace.String())
	limit, stop := context.WithTimeout(base, grace)
	defer stop()
	err := server.Shutdown(limit)
	if err != nil {
		// Connections first: what a handler writes when it is called off is no answer.
		err = errors.Join(fmt.Errorf("requests cut off after %v: %w", grace, err), server.Close())
		cutOff(api.ErrCutOff)
	}
	<-served
	return err
}

// closing ends each connection after its next answer while the service drains.
// Those that are idle stay open: a request may be on its way.
func (s *Server) closing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
