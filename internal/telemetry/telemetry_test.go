package telemetry

import (
	"runtime/debug"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// meters and tracers note what they were asked for.
type (
	meters struct {
		metricnoop.MeterProvider
		name   string
		config metric.MeterConfig
	}
	tracers struct {
		tracenoop.TracerProvider
		name   string
		config trace.TracerConfig
	}
)

func (p *meters) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	p.name, p.config = name, metric.NewMeterConfig(opts...)
	return p.MeterProvider.Meter(name, opts...)
}

func (p *tracers) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	p.name, p.config = name, trace.NewTracerConfig(opts...)
	return p.TracerProvider.Tracer(name, opts...)
}

func TestScope(t *testing.T) {
	m, tr := &meters{}, &tracers{}
	Meter(m, Outbox)
	Tracer(tr, InboxRabbitMQ)
	if m.name != module+"/outbox" || m.config.SchemaURL() != SchemaURL {
		t.Errorf("the meter is %q of schema %q", m.name, m.config.SchemaURL())
	}
	if tr.name != module+"/inbox/rabbitmq" || tr.config.SchemaURL() != SchemaURL {
		t.Errorf("the tracer is %q of schema %q", tr.name, tr.config.SchemaURL())
	}
}

func TestGlobalByDefault(t *testing.T) {
	if Meter(nil, Outbox) == nil || Tracer(nil, Outbox) == nil {
		t.Error("without a provider there is no meter, or no tracer")
	}
}

func TestModuleVersion(t *testing.T) {
	of := func(path, version string) *debug.Module { return &debug.Module{Path: path, Version: version} }
	replaced := of(module, "v1.2.3")
	replaced.Replace = of("example.com/fork", "v1.2.4")
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: *of("example.com/user", "v0.1.0"), Deps: []*debug.Module{of("a", "v9.0.0"), of(module, "v1.2.3")}}, "v1.2.3"},
		{debug.BuildInfo{Main: *of(module, "v1.0.0")}, "v1.0.0"},
		{debug.BuildInfo{Main: *of(module, "(devel)")}, ""},
		{debug.BuildInfo{Deps: []*debug.Module{replaced}}, "v1.2.4"},
		{debug.BuildInfo{}, ""},
	} {
		if got := moduleVersion(&c.info); got != c.want {
			t.Errorf("%+v: %q; want %q", c.info, got, c.want)
		}
	}
}

func TestEndpointAttributes(t *testing.T) {
	for _, c := range []struct {
		endpoint Endpoint
		want     []attribute.KeyValue
	}{
		{Endpoint{}, []attribute.KeyValue{attribute.String("messaging.system", "_OTHER")}},
		{Endpoint{"rabbitmq", "pulse.events", "", 5672}, []attribute.KeyValue{
			attribute.String("messaging.system", "rabbitmq"), attribute.String("messaging.destination.name", "pulse.events"),
		}},
		{Endpoint{"rabbitmq", "pulse.events", "mq.example", 5672}, []attribute.KeyValue{
			attribute.String("messaging.system", "rabbitmq"), attribute.String("messaging.destination.name", "pulse.events"),
			attribute.String("server.address", "mq.example"), attribute.Int("server.port", 5672),
		}},
	} {
		if got := c.endpoint.Attributes(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v; want %v", c.endpoint, got, c.want)
		}
	}
}
