package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
)

// Access is what the access log tells of a request.
type Access struct {
	Started time.Time
	Status  int
	Bytes   int64       // of the answer's body
	About   []slog.Attr // what the request was about, such as an order's id
}

// Log writes the line.
func (a Access) Log(ctx context.Context, log *slog.Logger, r *http.Request) {
	if caller := auth.CallerOf(ctx).Name; caller != "" {
		a.About = append(a.About, slog.String("caller", caller))
	}
	log.LogAttrs(ctx, a.level(r), "request", append([]slog.Attr{
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("status", a.Status),
		slog.Int64("bytes", a.Bytes),
		slog.Float64("took_ms", float64(time.Since(a.Started).Microseconds())/1000),
		slog.String("remote", r.RemoteAddr),
	}, a.About...)...)
}

// level keeps probes, which come every few seconds, out of the way.
func (a Access) level(r *http.Request) slog.Level {
	switch {
	case a.Status >= http.StatusInternalServerError:
		return slog.LevelError
	case strings.HasPrefix(r.URL.Path, "/health/"):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
