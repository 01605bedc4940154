package stack

import (
	"context"
	"errors"
	"net"

	"github.com/asimalizada/pulse-events/examples/telemetry"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

const envMetricsAddr = "PULSE_METRICS_ADDR"

// defaultMetricsAddr is where a process with both services serves their metrics,
// and anyPort where it does so if that is in use, as by another stack: a stack
// that could run must not fail for its metrics.
const (
	defaultMetricsAddr = "127.0.0.1:6103"
	anyPort            = "127.0.0.1:0"
)

// readTelemetry reads PULSE_METRICS_ADDR and the OTEL_* variables for services in
// this process.
func (cfg *Config) readTelemetry() error {
	lookup := func(name string) (string, bool) {
		value := cfg.Getenv(name)
		return value, value != ""
	}
	read, err := telemetry.FromEnv(lookup, "pulsectl", defaultMetricsAddr)
	if err != nil {
		return fail.Usagef("", "%v", err)
	}
	cfg.telemetry = read.WithFallback(anyPort)
	return nil
}

// startTelemetry exports and serves what cfg has of telemetry.
func startTelemetry(ctx context.Context, cfg Config) (*telemetry.Telemetry, error) {
	started, err := telemetry.Start(ctx, cfg.telemetry, cfg.Logger)
	if platform.AddressInUse(err) {
		addr := cfg.Getenv(envMetricsAddr)
		return nil, &PortTakenError{Part: "metrics", Variable: envMetricsAddr, Addr: addr, Holder: holder(addr), Err: err}
	}
	if _, listening := errors.AsType[*net.OpError](err); listening {
		return nil, fail.Usagef("use a free address of this machine: "+envMetricsAddr+"="+anyPort+" pulsectl up", "%v", err)
	}
	return started, err
}
