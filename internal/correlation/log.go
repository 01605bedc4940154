package correlation

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler wraps h so that every record logged with a context has its
// correlation and causation ids as correlation_id and causation_id, and those of
// its span as trace_id and span_id, outside of any group.
func LogHandler(h slog.Handler) slog.Handler { return &logHandler{Handler: h, root: h} }

type logHandler struct {
	slog.Handler
	// root is the handler outside of all groups, and inside leads from there to
	// Handler. If no group is open they are the same and inside is nil.
	root   slog.Handler
	inside func(slog.Handler) slog.Handler
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	var ids []slog.Attr
	if id := CorrelationID(ctx); id != "" {
		ids = append(ids, slog.String("correlation_id", id))
	}
	if id := CausationID(ctx); id != "" {
		ids = append(ids, slog.String("causation_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		ids = append(ids, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	switch {
	case len(ids) == 0:
		return h.Handler.Handle(ctx, r)
	case h.inside == nil:
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.Handler.Handle(ctx, r)
	}
	return h.inside(h.root.WithAttrs(ids)).Handle(ctx, r)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.inside != nil, func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(true, func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// with returns h after another step, which is repeated for records with ids if
// it happens inside a group.
func (h *logHandler) with(grouped bool, step func(slog.Handler) slog.Handler) slog.Handler {
	next := step(h.Handler)
	if !grouped {
		return LogHandler(next)
	}
	before := h.inside
	return &logHandler{Handler: next, root: h.root, inside: func(h slog.Handler) slog.Handler {
		if before != nil {
			h = before(h)
		}
		return step(h)
	}}
}
