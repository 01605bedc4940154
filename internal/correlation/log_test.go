package correlation

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"
)

func TestLogHandler(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(LogHandler(slog.NewJSONHandler(&out, nil))).With("service", "orders")
	line := func(ctx context.Context, l *slog.Logger) map[string]any {
		out.Reset()
		l.InfoContext(ctx, "created", "order_id", "1")
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	ctx := WithCausationID(WithCorrelationID(t.Context(), "corr"), "cause")
	if got := line(ctx, logger); got["correlation_id"] != "corr" || got["causation_id"] != "cause" || got["service"] != "orders" {
		t.Errorf("%v", got)
	}
	got := line(t.Context(), logger)
	if _, ok := got["correlation_id"]; ok {
		t.Errorf("no id in the context, one in the log: %v", got)
	}
	// A group is for the caller's attributes; the ids stay outside.
	got = line(ctx, logger.WithGroup("http").With("method", "POST"))
	if got["correlation_id"] != "corr" {
		t.Errorf("in a group: %v", got)
	}
	group, _ := got["http"].(map[string]any)
	if group["method"] != "POST" || group["order_id"] != "1" {
		t.Errorf("in a group: %v", got)
	}
}

// withIDs gives every record a context with ids, which slogtest does not.
type withIDs struct{ slog.Handler }

func (h withIDs) Handle(_ context.Context, r slog.Record) error {
	return h.Handler.Handle(WithCorrelationID(context.Background(), "corr"), r)
}
func (h withIDs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withIDs{h.Handler.WithAttrs(attrs)}
}
func (h withIDs) WithGroup(name string) slog.Handler { return withIDs{h.Handler.WithGroup(name)} }

// LogHandler passes slogtest, with and without ids.
func TestLogHandlerSlogtest(t *testing.T) {
	for name, wrap := range map[string]func(slog.Handler) slog.Handler{
		"with ids":    func(h slog.Handler) slog.Handler { return withIDs{LogHandler(h)} },
		"without ids": LogHandler,
	} {
		t.Run(name, func(t *testing.T) {
			var out *bytes.Buffer
			slogtest.Run(t, func(*testing.T) slog.Handler {
				out = new(bytes.Buffer)
				return wrap(slog.NewJSONHandler(out, nil))
			}, func(t *testing.T) map[string]any {
				var got map[string]any
				if err := json.Unmarshal(out.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				return got
			})
		})
	}
}
