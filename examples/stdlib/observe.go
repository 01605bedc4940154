package stdlib

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// observe gives each request its correlation id, its trace context, its caller
// and its deadline, refuses what the guard refuses, and writes one line to the access log.
func observe(log *slog.Logger, guard *api.Guard, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		ctx, refusal := guard.Enter(r)
		ctx, cancel := context.WithTimeout(ctx, api.RequestTimeout)
		defer cancel()
		w.Header().Set(wire.HeaderCorrelationID, outbox.CorrelationID(ctx))

		rec := &recorder{ResponseWriter: w}
		ctx = context.WithValue(ctx, recorderKey{}, rec)
		defer func() {
			api.Access{Started: started, Status: rec.status, Bytes: rec.bytes, About: rec.attrs}.Log(ctx, log, r)
		}()
		if refusal != nil {
			api.WriteError(rec, refusal)
			return
		}
		next.ServeHTTP(rec, r.WithContext(ctx))
	})
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
