package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// flushLimit bounds what Shutdown waits for a collector. What it has not taken
// by then is lost.
var flushLimit = 5 * time.Second // a variable for tests alone

// Telemetry exports and serves until Shutdown.
type Telemetry struct {
	log    *slog.Logger
	scrape *scrapeServer // nil: metrics are not served
	ends   []func(context.Context) error
}

// Start sets OpenTelemetry's global providers, and serves metrics. Where
// nothing is exported the global providers stay what they are, which costs
// nothing. log hears of collectors that cannot be reached, and of little else.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (_ *Telemetry, err error) {
	t := &Telemetry{log: log}
	defer func() {
		if err != nil {
			t.Shutdown()
		}
	}()
	if cfg.idle() {
		return t, nil
	}
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	otel.SetErrorHandler(&complaints{log: log})
	if cfg.logsWanted != "" {
		log.WarnContext(ctx, "logs go to stderr alone; collect them there", "OTEL_LOGS_EXPORTER", cfg.logsWanted)
	}
	about, err := describe(ctx, cfg.service)
	if err != nil {
		return nil, err
	}
	if cfg.traces {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", envTracesExporter, err)
		}
		// Spans are handed over without waiting: when its queue is full, they are dropped.
		provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
		t.ends = append(t.ends, provider.Shutdown)
		otel.SetTracerProvider(provider)
	}
	if err := t.startMetrics(ctx, cfg, about); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) startMetrics(ctx context.Context, cfg Config, about *resource.Resource) error {
	options := []metric.Option{metric.WithResource(about)}
	if cfg.metrics {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", envMetricsExporter, err)
		}
		options = append(options, metric.WithReader(reader))
	}
	if cfg.addr != "" {
		ln, err := net.Listen("tcp", cfg.addr)
		if err != nil && !cfg.chosen && cfg.fallback != "" {
			t.log.WarnContext(ctx, "metrics are served elsewhere than usual", "error", err)
			ln, err = net.Listen("tcp", cfg.fallback)
		}
		switch {
		case err == nil:
			scrape, reader, err := newScrapeServer(ln, t.log)
			if err != nil {
				return errors.Join(err, ln.Close())
			}
			t.scrape = scrape
			t.ends = append(t.ends, scrape.shutdown)
			options = append(options, metric.WithReader(reader))
			t.log.InfoContext(ctx, "serving metrics", "url", t.MetricsURL())
		case cfg.chosen:
			return fmt.Errorf("%s: %w", envAddr, err)
		default: // a service that nobody scrapes must not fail for that
			t.log.WarnContext(ctx, "metrics are not served; "+envAddr+" sets another address, or "+off, "error", err)
		}
	}
	if len(options) == 1 {
		return nil
	}
	provider := metric.NewMeterProvider(options...)
	t.ends = append(t.ends, provider.Shutdown)
	otel.SetMeterProvider(provider)
	return runtime.Start(runtime.WithMeterProvider(provider))
}

// MetricsURL returns where metrics are served, or "".
func (t *Telemetry) MetricsURL() string {
	if t.scrape == nil {
		return ""
	}
	return t.scrape.url()
}

// Shutdown exports what there is still, and ends within a few seconds, also if
// a collector does not answer.
func (t *Telemetry) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	var all sync.WaitGroup
	for _, end := range t.ends {
		all.Go(func() {
			if err := end(ctx); err != nil {
				t.log.Warn("telemetry was not flushed", "error", err)
			}
		})
	}
	all.Wait()
}

// describe returns the resource that spans and metrics are of: the service, by
// its name unless the environment has another, and this run of it.
func describe(ctx context.Context, service string) (*resource.Resource, error) {
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service),
		attribute.String("service.version", version()),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return about, nil
}

// version is that of the program, as it was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Version
}
