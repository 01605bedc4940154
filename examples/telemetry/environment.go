package telemetry

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/asimalizada/pulse-events/examples/internal/settings"
)

// envAddr is where metrics are served, as host:port, or off.
const envAddr = "PULSE_METRICS_ADDR"

// off is the value of envAddr that serves no metrics.
const off = "off"

// Variables of OpenTelemetry that decide what is exported at all. Exporters and
// SDK read the others themselves, once they are known to be right.
const (
	envDisabled        = "OTEL_SDK_DISABLED"
	envTracesExporter  = "OTEL_TRACES_EXPORTER"
	envMetricsExporter = "OTEL_METRICS_EXPORTER"
	envLogsExporter    = "OTEL_LOGS_EXPORTER"
	envEndpoint        = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint  = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envMetricsEndpoint = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
)

// Config is what a program exports, and where it serves its metrics.
type Config struct {
	service    string // service.name, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has another
	addr       string // empty: metrics are not served
	fallback   string // where they are served if addr, which nobody has chosen, is in use
	chosen     bool   // addr was given, so that it is an error if it cannot be listened on
	traces     bool   // exported
	metrics    bool   // exported, beside being served
	logsWanted string // by OTEL_LOGS_EXPORTER, which is not done
}

// FromEnv reads PULSE_METRICS_ADDR, which defaults to addr and may be off, and
// the OTEL_* variables of the OpenTelemetry specification. Spans and metrics are
// exported if their exporter is set, or an OTLP endpoint is and no exporter.
// The error names every variable whose value is wrong, and holds no secret.
func FromEnv(lookup func(string) (string, bool), service, addr string) (Config, error) {
	env := settings.NewReader(lookup)
	cfg := Config{service: service, addr: env.String(envAddr, addr), chosen: env.String(envAddr, "") != ""}
	if cfg.addr == off {
		cfg.addr = ""
	} else if err := checkAddr(cfg.addr); err != nil {
		env.Problem(envAddr, err)
	}
	if env.Bool(envDisabled, false) {
		return Config{service: service}, env.Err()
	}
	for _, v := range variables {
		value := env.String(v.name, "")
		if value == "" {
			continue
		}
		if err := v.check(value); err != nil {
			env.Problem(v.name, err)
		}
	}
	for _, signal := range otlpSignals {
		checkClientCertificate(env, signal)
	}
	checkSamplerArg(env)

	exported := func(exporter, endpoint string) bool {
		chosen := env.String(exporter, "")
		return chosen != "" && chosen != "none" || chosen == "" && (env.String(envEndpoint, "") != "" || env.String(endpoint, "") != "")
	}
	cfg.traces, cfg.metrics = exported(envTracesExporter, envTracesEndpoint), exported(envMetricsExporter, envMetricsEndpoint)
	if logs := env.String(envLogsExporter, "none"); logs != "none" {
		cfg.logsWanted = logs
	}
	return cfg, env.Err()
}

// WithFallback returns cfg with another address for metrics, which is taken if
// the default one is in use.
func (cfg Config) WithFallback(addr string) Config {
	cfg.fallback = addr
	return cfg
}

// idle reports whether nothing is exported, served or complained about.
func (cfg Config) idle() bool {
	return cfg.addr == "" && !cfg.traces && !cfg.metrics && cfg.logsWanted == ""
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is neither host:port with a port from 0 to 65535, such as 127.0.0.1:6111, nor %s", addr, off)
	}
	return nil
}

// checkSamplerArg holds the argument to its sampler: only ratios take one.
func checkSamplerArg(env *settings.Reader) {
	const variable = "OTEL_TRACES_SAMPLER_ARG"
	arg := env.String(variable, "")
	if arg == "" || !slices.Contains([]string{"traceidratio", "parentbased_traceidratio"}, env.String("OTEL_TRACES_SAMPLER", "")) {
		return
	}
	if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
		env.Problem(variable, fmt.Errorf("%q is not a ratio from 0 to 1, such as 0.1", arg))
	}
}

// checkClientCertificate checks that a certificate and its key are given together,
// and belong together.
func checkClientCertificate(env *settings.Reader, signal string) {
	certName, keyName := signal+"CLIENT_CERTIFICATE", signal+"CLIENT_KEY"
	cert, key := env.String(certName, ""), env.String(keyName, "")
	switch {
	case cert != "" && key != "":
		if err := checkKeyPair(cert, key); err != nil {
			env.Problem(certName, err)
		}
	case cert != "":
		env.Problem(keyName, errors.New("is empty, but the certificate is set"))
	case key != "":
		env.Problem(certName, errors.New("is empty, but the key is set"))
	}
}
