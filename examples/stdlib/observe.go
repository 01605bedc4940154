package stdlib

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/wire"
)

// requestTimeout bounds the work on one request.
const requestTimeout = 10 * time.Second

// observe gives each request its correlation id, its trace context and its
// deadline, and writes one line to the access log. A correlation id that
// could not travel on is refused: replacing it would break the caller's trail.
func observe(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		id, idError := correlationID(r.Header)
		w.Header().Set(wire.HeaderCorrelationID, id)

		rec := &recorder{ResponseWriter: w}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		ctx = correlation.ExtractTrace(ctx, map[string]string{
			wire.HeaderTraceParent: r.Header.Get(wire.HeaderTraceParent),
			wire.HeaderTraceState:  r.Header.Get(wire.HeaderTraceState),
		})
		ctx = correlation.WithCorrelationID(ctx, id)
		ctx = context.WithValue(ctx, recorderKey{}, rec)
		defer func() {
			log.LogAttrs(ctx, accessLevel(r, rec.status), "request", append([]slog.Attr{
				slog.String("method", r.Method),
				slog.String("path", r.URL.Path),
				slog.Int("status", rec.status),
				slog.Int64("bytes", rec.bytes),
				slog.Float64("took_ms", float64(time.Since(started).Microseconds())/1000),
				slog.String("remote", r.RemoteAddr),
			}, rec.attrs...)...)
		}()
		if idError != nil {
			writeError(rec, idError)
			return
		}
		next.ServeHTTP(rec, r.WithContext(ctx))
	})
}

// correlationID returns the request's id, or a new one where there is none or
// a bad one.
func correlationID(h http.Header) (string, *apiError) {
	given := h.Values(wire.HeaderCorrelationID)
	switch {
	case len(given) == 0:
		return correlation.NewID(), nil
	case len(given) > 1:
		return correlation.NewID(), badField(wire.HeaderCorrelationID, "is given %d times", len(given))
	case !correlation.Valid(given[0]):
		return correlation.NewID(), badField(wire.HeaderCorrelationID,
			"must be 1 to %d visible ASCII characters", correlation.MaxLength)
	}
	return given[0], nil
}

// accessLevel keeps probes, which come every few seconds, out of the way.
func accessLevel(r *http.Request, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case strings.HasPrefix(r.URL.Path, "/health/"):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

type recorderKey struct{}

// recorder remembers of an answer what the access log tells.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	attrs  []slog.Attr
}

// annotate adds what the request was about to its line in the access log. It
// belongs in the goroutine of the request.
func annotate(ctx context.Context, attrs ...slog.Attr) {
	if rec, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		rec.attrs = append(rec.attrs, attrs...)
	}
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
