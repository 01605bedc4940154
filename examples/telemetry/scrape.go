package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Limits of a scrape. A metric that cannot be had in time costs the scrape, and
// nothing else.
const (
	scrapeTimeout = 10 * time.Second
	maxScrapes    = 4 // at once
	maxHeader     = 16 << 10
)

// scrapeServer serves /metrics.
type scrapeServer struct {
	ln     net.Listener
	server *http.Server
	served chan error
}

// newScrapeServer serves on ln what the reader collects, and what Prometheus's
// client knows of the process: build, memory, descriptors.
func newScrapeServer(ln net.Listener, log *slog.Logger) (*scrapeServer, metric.Reader, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewBuildInfoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: &complaints{log: log}, ErrorHandling: promhttp.ContinueOnError, // rather most of the metrics than none
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
		EnableOpenMetrics: true, // for exemplars, which lead from a histogram to a trace
	}))
	s := &scrapeServer{ln: ln, served: make(chan error, 1), server: &http.Server{
		Handler: mux, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadTimeout: 5 * time.Second, WriteTimeout: 2 * scrapeTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
	}}
	go func() { s.served <- s.server.Serve(ln) }()
	return s, reader, nil
}

func (s *scrapeServer) url() string { return "http://" + s.ln.Addr().String() + "/metrics" }

// shutdown ends the server. It lets scrapes in flight finish.
func (s *scrapeServer) shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
