package telemetry_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/asimalizada/pulse-events/examples/telemetry"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// start starts telemetry as the environment tells, which t.Setenv may have changed.
func start(t *testing.T, addr string) *telemetry.Telemetry {
	t.Helper()
	cfg, err := telemetry.FromEnv(os.LookupEnv, "orders", addr)
	if err != nil {
		t.Fatal(err)
	}
	started, err := telemetry.Start(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return started
}

// measure makes a span and counts something.
func measure(t *testing.T) {
	t.Helper()
	_, span := otel.Tracer("test").Start(t.Context(), "a span")
	span.End()
	counter, err := otel.Meter("test").Int64Counter("test.things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 1)
}

// receiver is a collector that notes what it is sent, with the service's name.
type receiver struct {
	traces.UnimplementedTraceServiceServer
	spans, metrics chan string
}

func newReceiver() *receiver {
	return &receiver{spans: make(chan string, 100), metrics: make(chan string, 1000)}
}

func serviceName(attributes []*common.KeyValue) string {
	for _, a := range attributes {
		if a.Key == "service.name" {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func (r *receiver) takeSpans(request *traces.ExportTraceServiceRequest) {
	for _, of := range request.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				r.spans <- serviceName(of.Resource.Attributes) + " " + span.Name
			}
		}
	}
}

func (r *receiver) takeMetrics(request *metrics.ExportMetricsServiceRequest) {
	for _, of := range request.ResourceMetrics {
		for _, scope := range of.ScopeMetrics {
			for _, m := range scope.Metrics {
				r.metrics <- serviceName(of.Resource.Attributes) + " " + m.Name
			}
		}
	}
}

// Export implements the trace service of OTLP by gRPC.
func (r *receiver) Export(_ context.Context, request *traces.ExportTraceServiceRequest) (*traces.ExportTraceServiceResponse, error) {
	r.takeSpans(request)
	return new(traces.ExportTraceServiceResponse), nil
}

// grpcMetrics is the metrics service: its method has the same name.
type grpcMetrics struct {
	metrics.UnimplementedMetricsServiceServer
	to *receiver
}

func (g grpcMetrics) Export(_ context.Context, request *metrics.ExportMetricsServiceRequest) (*metrics.ExportMetricsServiceResponse, error) {
	g.to.takeMetrics(request)
	return new(metrics.ExportMetricsServiceResponse), nil
}

// ServeHTTP implements OTLP by HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err == nil {
		switch request.URL.Path {
		case "/v1/traces":
			var spans traces.ExportTraceServiceRequest
			if err = proto.Unmarshal(body, &spans); err == nil {
				r.takeSpans(&spans)
			}
		case "/v1/metrics":
			var all metrics.ExportMetricsServiceRequest
			if err = proto.Unmarshal(body, &all); err == nil {
				r.takeMetrics(&all)
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// expect waits for one of what was received.
func expect(t *testing.T, received <-chan string, want string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-received:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("the collector did not get %q", want)
		}
	}
}

func TestStartExportsByHTTP(t *testing.T) {
	r := newReceiver()
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	exports := start(t, "off")
	measure(t)
	exports.Shutdown()
	expect(t, r.spans, "orders a span")
	expect(t, r.metrics, "orders test.things")
}

func TestStartExportsByGRPC(t *testing.T) {
	r := newReceiver()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	traces.RegisterTraceServiceServer(server, r)
	metrics.RegisterMetricsServiceServer(server, grpcMetrics{to: r})
	go server.Serve(ln)
	defer server.Stop()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+ln.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "shop")
	exports := start(t, "off")
	measure(t)
	exports.Shutdown()
	expect(t, r.spans, "shop a span")
	expect(t, r.metrics, "shop test.things")
}

// hanging returns the URL of a collector that accepts connections and says nothing.
func hanging(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return "http://" + ln.Addr().String() // the kernel completes the handshakes
}

func TestShutdownDoesNotWaitForACollectorThatHangs(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			telemetry.LimitFlush(t, 500*time.Millisecond)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging(t))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "3600000")
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
			exports := start(t, "off")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for range 100 { // the queue is soon full
					measure(t)
				}
				exports.Shutdown()
			}()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("it waits for the collector")
			}
		})
	}
}

func TestStartServesMetrics(t *testing.T) {
	exports := start(t, "127.0.0.1:0")
	measure(t)
	for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0"} {
		text := scrape(t, exports.MetricsURL(), accept)
		for _, want := range []string{"test_things_total 1", "go_build_info{", "go_goroutine_count ", "process_resident_memory_bytes ", `service_name="orders"`} {
			if !strings.Contains(text, want) {
				t.Errorf("accepting %q, no %s in\n%s", accept, want, text)
			}
		}
	}
	url := exports.MetricsURL()
	exports.Shutdown()
	if _, err := http.Get(url); err == nil {
		t.Error("metrics are served after the end")
	}
}

func scrape(t *testing.T, url, accept string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	return string(text)
}

func TestStartWhereTheAddressIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	exports := start(t, taken) // by default: the service runs without
	if exports.MetricsURL() != "" {
		t.Errorf("metrics are at %s", exports.MetricsURL())
	}
	exports.Shutdown()

	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg, err := telemetry.FromEnv(os.LookupEnv, "orders", taken)
	if err != nil {
		t.Fatal(err)
	}
	exports, err = telemetry.Start(t.Context(), cfg.WithFallback("127.0.0.1:0"), log)
	if err != nil {
		t.Fatal(err)
	}
	measure(t)
	if text := scrape(t, exports.MetricsURL(), ""); !strings.Contains(text, "test_things_total 1") {
		t.Errorf("at the other address: %s", text)
	}
	exports.Shutdown()

	t.Setenv("PULSE_METRICS_ADDR", taken)
	cfg, err = telemetry.FromEnv(os.LookupEnv, "orders", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.WithFallback("127.0.0.1:0")
	if _, err := telemetry.Start(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "PULSE_METRICS_ADDR: ") {
		t.Errorf("an address that was asked for: %v", err)
	}
}
