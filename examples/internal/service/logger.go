package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"

	"github.com/asimalizada/pulse-events/outbox"
)

// NewLogger returns a logger that writes JSON, or text where asText is set.
// Records carry the correlation and causation ids of their context, and the ids
// of its trace and span.
func NewLogger(w io.Writer, asText bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if asText {
		return slog.New(correlated{slog.NewTextHandler(w, options)})
	}
	return slog.New(correlated{slog.NewJSONHandler(w, options)})
}

// correlated adds the ids of the context to each record. The context of an
// inbox handler has them, and api.Context gives them to that of a request.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := outbox.CorrelationID(ctx); id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	if id := outbox.CausationID(ctx); id != "" {
		r.AddAttrs(slog.String("causation_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}

func (h correlated) WithGroup(name string) slog.Handler {
	return correlated{h.Handler.WithGroup(name)}
}

// parseFormat reads whether to log text: auto, the default, does on a terminal.
func parseFormat(format string, w io.Writer) (asText bool, err error) {
	switch format {
	case "", "auto":
		file, ok := w.(*os.File)
		return ok && term.IsTerminal(int(file.Fd())), nil
	case "json":
		return false, nil
	case "text":
		return true, nil
	}
	return false, fmt.Errorf("unknown format %q; have auto, json, text", format)
}

// parseLevel reads debug, info, warn or error, in any case; info is the default.
func parseLevel(text string) (level slog.Level, err error) {
	if text == "" {
		return slog.LevelInfo, nil
	}
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("unknown level %q; have debug, info, warn, error", text)
	}
	return level, nil
}
