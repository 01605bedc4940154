// Package metrics tests the metrics of outbox and inbox with the SDK of
// OpenTelemetry, which the tests beside the code must not import: it would be in the
// go.sum of every user.
package metrics
