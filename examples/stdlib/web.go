package stdlib

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/examples/internal/api"
)

// handler answers a request, or returns why it cannot: an *api.Error where it
// is the client's fault.
type handler func(w http.ResponseWriter, r *http.Request) error

type route struct {
	method, path string
	handle       handler
}

func (to route) routed(w http.ResponseWriter, r *http.Request) error {
	api.Routed(r.Context(), r.Method, to.path)
	return to.handle(w, r)
}

// newMux serves routes, and answers whatever else is asked in the shape of
// every other error.
func newMux(log *slog.Logger, routes []route) http.Handler {
	mux := http.NewServeMux()
	allowed := make(map[string][]string)
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, answer(log, r.routed))
		allowed[r.path] = append(allowed[r.path], r.method)
		if r.method == http.MethodGet {
			allowed[r.path] = append(allowed[r.path], http.MethodHead)
		}
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		mux.Handle(path, answer(log, methodNotAllowed(strings.Join(methods, ", "))))
	}
	mux.Handle("/", answer(log, func(http.ResponseWriter, *http.Request) error {
		return api.NotFound()
	}))
	return mux
}

func methodNotAllowed(methods string) handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", methods)
		return api.MethodNotAllowed(methods)
	}
}

// answer runs h and writes its error, if any. A panic is an error of ours.
func answer(log *slog.Logger, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				api.WriteError(w, api.Recovered(r.Context(), log, p))
			}
		}()
		if err := h(w, r); err != nil {
			api.WriteError(w, api.Explain(r.Context(), log, err))
		}
	})
}

// allow lets callers with the scope through to h.
func allow(scope string, h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := api.Require(r.Context(), scope); err != nil {
			return err
		}
		return h(w, r)
	}
}

// always is a handler that answers every request itself.
func always(h http.Handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}
