package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Limits of a connection. writeTimeout leaves room for api.RequestTimeout.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 20 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 32 << 10
)

// Run is what every service does: bring the schema, then serve h on ln beside
// work until ctx ends. ln is closed in every case; nil makes one on s.Addr.
func Run(ctx context.Context, s Settings, log *slog.Logger, db *Database, h http.Handler, ln net.Listener, work func(context.Context) error) error {
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", s.Addr); err != nil {
			return err
		}
	}
	defer ln.Close()
	switch err := db.prepare(ctx, s.AutoMigrate, s.StartTimeout, log); {
	case ctx.Err() != nil:
		return nil // called off before it began
	case err != nil:
		return fmt.Errorf("prepare the database: %w", err)
	}
	log.InfoContext(ctx, "serving", "address", ln.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return work(ctx) })
	group.Go(func() error { return serve(ctx, ln, h, log, s.ShutdownTimeout) })
	return group.Wait()
}

// serve answers on ln until ctx ends, lets requests in flight finish for as
// long as grace, and then cuts them off. When it returns no handler runs and
// ln is closed.
func serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger, grace time.Duration) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var open sync.WaitGroup // connections
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
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
	go func() { served <- server.Serve(ln) }()
	defer open.Wait()

	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("serve %s: %w", ln.Addr(), err), server.Close())
	case <-ctx.Done():
	}
	log.Info("stopping", "address", ln.Addr().String(), "grace", grace.String())
	limit, stop := context.WithTimeout(base, grace)
	defer stop()
	err := server.Shutdown(limit)
	if err != nil {
		// Connections first: what a handler writes when it is called off is no answer.
		err = errors.Join(fmt.Errorf("requests cut off after %v: %w", grace, err), server.Close())
		cancel()
	}
	<-served
	return err
}
