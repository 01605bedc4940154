package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// variable is one of OpenTelemetry's. The SDK for Go replaces most wrong values
// by a default and says so once, in its own log; here they end the program, as
// wrong settings of its own do.
type variable struct {
	name  string
	check func(value string) error
}

// otlpSignals are the prefixes of the variables of the OTLP exporters: for all
// signals, and for one.
var otlpSignals = []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_METRICS_"}

// variables are those with a value that can be wrong, as the specification has
// them: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
var variables = slices.Concat([]variable{
	{envTracesExporter, oneOf("otlp", "console", "none")},
	{envMetricsExporter, oneOf("otlp", "prometheus", "console", "none")},
	{"OTEL_METRICS_PRODUCERS", oneOf("prometheus", "none")},
	{"OTEL_EXPORTER_PROMETHEUS_PORT", checkPort},
	{"OTEL_PROPAGATORS", checkPropagators},
	{"OTEL_RESOURCE_ATTRIBUTES", checkPairs},
	{"OTEL_TRACES_SAMPLER", oneOf("always_on", "always_off", "traceidratio",
		"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")},
	{"OTEL_METRICS_EXEMPLAR_FILTER", oneOf("always_on", "always_off", "trace_based")},
	{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", oneOf("cumulative", "delta", "lowmemory")},
	{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", oneOf("explicit_bucket_histogram", "base2_exponential_bucket_histogram")},
}, otlpVariables(), each(checkWhole, "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
	"OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT",
), each(checkLimit, "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
	"OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"))

func otlpVariables() (all []variable) {
	for _, signal := range otlpSignals {
		all = append(all,
			variable{signal + "PROTOCOL", oneOf("grpc", "http/protobuf")},
			variable{signal + "ENDPOINT", checkEndpoint},
			variable{signal + "TIMEOUT", checkWhole},
			variable{signal + "HEADERS", checkPairs},
			variable{signal + "COMPRESSION", oneOf("gzip", "none")},
			variable{signal + "INSECURE", oneOf("true", "false")},
			variable{signal + "CERTIFICATE", checkAuthorities},
		)
	}
	return all
}

// each returns the variables of these names, which one function checks.
func each(check func(string) error, names ...string) (all []variable) {
	for _, name := range names {
		all = append(all, variable{name, check})
	}
	return all
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(values, value) {
			return nil
		}
		return fmt.Errorf("unknown value %q; have %s", value, strings.Join(values, ", "))
	}
}

func checkWhole(value string) error {
	if n, err := strconv.ParseInt(value, 10, 32); err != nil || n < 1 {
		return fmt.Errorf("%q is not a whole number above 0", value)
	}
	return nil
}

// checkLimit takes 0, for none, and negative numbers, for no limit.
func checkLimit(value string) error {
	if _, err := strconv.ParseInt(value, 10, 32); err != nil {
		return fmt.Errorf("%q is not a whole number", value)
	}
	return nil
}

func checkPort(value string) error {
	if _, err := strconv.ParseUint(value, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port from 0 to 65535", value)
	}
	return nil
}

// checkEndpoint does not quote a URL, which may hold a password.
func checkEndpoint(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("is not a URL that begins with http:// or https://, such as http://127.0.0.1:4318")
	}
	return nil
}

// checkPairs quotes no value, which may be a secret.
func checkPairs(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		key, _, found := strings.Cut(pair, "=")
		if !found || strings.TrimSpace(key) == "" {
			return errors.New("is not a list such as key=value,key2=value2")
		}
		if _, err := url.PathUnescape(pair); err != nil {
			return fmt.Errorf("the value of %q is not percent-encoded", key)
		}
	}
	return nil
}

// checkPropagators takes what the libraries do, and baggage, which is in the
// default of the specification and is not propagated.
func checkPropagators(value string) error {
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "tracecontext" && name != "baggage" {
			return fmt.Errorf("unknown value %q; messages and requests carry tracecontext", name)
		}
	}
	return nil
}

func checkAuthorities(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("the file %s holds no PEM certificate", path)
	}
	return nil
}

func checkKeyPair(cert, key string) error {
	_, err := tls.LoadX509KeyPair(cert, key)
	return err
}
