package api

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Traced gives each request to h a span, and counts and times it, by
// OpenTelemetry's global providers; probes of health it leaves alone. addr is
// where the service listens: it stands for the header Host, of which there
// would be as many as clients make up.
func Traced(h http.Handler, addr string) http.Handler {
	return otelhttp.NewHandler(h, "",
		otelhttp.WithServerName(addr),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/health/") }),
	)
}

// Routed names the span of a request, and what is counted of it, by its route:
// a path has ids in it.
func Routed(ctx context.Context, method, route string) {
	attr := attribute.String("http.route", route)
	if labeler, traced := otelhttp.LabelerFromContext(ctx); traced {
		labeler.Add(attr)
	}
	span := trace.SpanFromContext(ctx)
	span.SetName(method + " " + route)
	span.SetAttributes(attr)
}
