// Package telemetry is what the programs of the examples do with what the
// libraries say to OpenTelemetry: it exports spans and metrics as the standard
// OTEL_* variables tell, and serves metrics to Prometheus on a port of its own.
//
// The libraries need the API of OpenTelemetry alone. The SDK and the exporters
// are in this package, which programs import and services do not.
package telemetry
