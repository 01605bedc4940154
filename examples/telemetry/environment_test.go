package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func TestFromEnv(t *testing.T) {
	for _, c := range []struct {
		about string
		env   map[string]string
		want  Config
	}{
		{"nothing set", nil, Config{addr: "127.0.0.1:7"}},
		{"off", map[string]string{"PULSE_METRICS_ADDR": "off"}, Config{chosen: true}},
		{"an address", map[string]string{"PULSE_METRICS_ADDR": ":9464"}, Config{addr: ":9464", chosen: true}},
		{"an endpoint alone", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, Config{addr: "127.0.0.1:7", traces: true, metrics: true}},
		{"an endpoint of one signal", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, Config{addr: "127.0.0.1:7", traces: true}},
		{"exporters win", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console"},
			Config{addr: "127.0.0.1:7", metrics: true}},
		{"logs", map[string]string{"OTEL_LOGS_EXPORTER": "otlp"}, Config{addr: "127.0.0.1:7", logsWanted: "otlp"}},
		{"disabled", map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, Config{}},
	} {
		c.want.service = "orders"
		got, err := FromEnv(environment(c.env), "orders", "127.0.0.1:7")
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.about, got, err, c.want)
		}
	}
}

func TestFromEnvNamesEveryProblemAndNoSecret(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noPEM, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value string }{
		{"PULSE_METRICS_ADDR", "6111"},
		{"PULSE_METRICS_ADDR", "127.0.0.1:99999"},
		{"OTEL_SDK_DISABLED", "perhaps"},
		{"OTEL_TRACES_EXPORTER", "zipkin"},
		{"OTEL_METRICS_EXPORTER", "otlp,prometheus"},
		{"OTEL_METRICS_PRODUCERS", "all"},
		{"OTEL_EXPORTER_PROMETHEUS_PORT", "http"},
		{"OTEL_PROPAGATORS", "tracecontext,b3"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=%zz"},
		{"OTEL_TRACES_SAMPLER", "often"},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "never"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "0"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "10s"},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", "many"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@:4317"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://user:hunter2@collector:4317"},
		{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2"},
		{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "yes"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/does/not/exist"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", noPEM},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum"},
	} {
		_, err := FromEnv(environment(map[string]string{c.name: c.value}), "orders", "127.0.0.1:7")
		if err == nil || !strings.HasPrefix(err.Error(), c.name+": ") {
			t.Errorf("%s=%s: the error is %v", c.name, c.value, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
	}
	_, err := FromEnv(environment(map[string]string{
		"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5",
		"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/etc/key", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": "/etc/cert",
		"OTEL_BSP_SCHEDULE_DELAY": "soon", "PULSE_METRICS_ADDR": "nowhere",
	}), "orders", "127.0.0.1:7")
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_BSP_SCHEDULE_DELAY", "PULSE_METRICS_ADDR"} {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%v\ndoes not name %s", err, name)
		}
	}
}

func TestFromEnvTakesWhatIsRight(t *testing.T) {
	if _, err := FromEnv(environment(map[string]string{
		"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "team=a,region=eu%20west",
		"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1", "OTEL_PROPAGATORS": "tracecontext,baggage",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
		"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc", "OTEL_EXPORTER_OTLP_TIMEOUT": "10000", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
		"OTEL_METRIC_EXPORT_INTERVAL": "60000", "OTEL_METRICS_EXPORTER": "prometheus",
		"OTEL_SPAN_LINK_COUNT_LIMIT": "0", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "-1",
	}), "orders", "127.0.0.1:7"); err != nil {
		t.Error(err)
	}
}
