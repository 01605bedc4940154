// Package telemetry is the one home of what the libraries say to OpenTelemetry:
// names of instruments, their units, buckets and descriptions, keys of attributes,
// and the version of the semantic conventions that all of it follows. It needs the
// API of OpenTelemetry alone; docs/adr/0021-telemetry-by-the-api-alone.md says why,
// and how a renamed convention is handled.
package telemetry

import (
	"runtime/debug"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0" // in this package only
	"go.opentelemetry.io/otel/trace"
)

// SchemaURL names the version of the semantic conventions.
const SchemaURL = semconv.SchemaURL

const module = "github.com/asimalizada/pulse-events"

// Scope is the name of an instrumentation scope: the package that measures.
type Scope string

// The scopes.
const (
	Outbox         Scope = module + "/outbox"
	OutboxRabbitMQ Scope = module + "/outbox/rabbitmq"
	Inbox          Scope = module + "/inbox"
	InboxRabbitMQ  Scope = module + "/inbox/rabbitmq"
)

// Meter returns the meter of a scope. A nil provider stands for the global one,
// also if that is set later.
func Meter(provider metric.MeterProvider, scope Scope) metric.Meter {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	return provider.Meter(string(scope), metric.WithInstrumentationVersion(Version()), metric.WithSchemaURL(SchemaURL))
}

// Tracer returns the tracer of a scope. A nil provider stands for the global one,
// also if that is set later.
func Tracer(provider trace.TracerProvider, scope Scope) trace.Tracer {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return provider.Tracer(string(scope), trace.WithInstrumentationVersion(Version()), trace.WithSchemaURL(SchemaURL))
}

// Version is that of this module in the running program, as "v1.2.3"; empty where
// the build does not tell.
var Version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return moduleVersion(info)
})

func moduleVersion(info *debug.BuildInfo) string {
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version == "(devel)" {
			return ""
		}
		return m.Version
	}
	return ""
}
