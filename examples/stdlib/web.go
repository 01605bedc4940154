package stdlib

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/database"
)

// handler answers a request, or returns why it cannot: an *apiError where it
// is the client's fault.
type handler func(w http.ResponseWriter, r *http.Request) error

type route struct {
	method, path string
	handle       handler
}

// newMux serves routes, and answers whatever else is asked in the shape of
// every other error.
func newMux(log *slog.Logger, routes []route) http.Handler {
	mux := http.NewServeMux()
	allowed := make(map[string][]string)
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, answer(log, r.handle))
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
		return &apiError{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing here"}
	}))
	return mux
}

func methodNotAllowed(methods string) handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", methods)
		return &apiError{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "allowed here: " + methods}
	}
}

// apiError is an answer other than success: {"error": {...}}.
type apiError struct {
	Status  int          `json:"-"`
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Fields  []fieldError `json:"fields"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func badField(field, format string, args ...any) *apiError {
	return &apiError{
		Status: http.StatusBadRequest, Code: "invalid_request", Message: "the request is not valid; see fields",
		Fields: []fieldError{{field, fmt.Sprintf(format, args...)}},
	}
}

// answer runs h and writes its error, if any. A panic is an error of ours.
func answer(log *slog.Logger, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				log.ErrorContext(r.Context(), "panic while handling a request", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeError(w, internalError())
			}
		}()
		if err := h(w, r); err != nil {
			writeError(w, explain(r.Context(), log, err))
		}
	})
}

// explain turns err into what the client may know, and logs the rest.
func explain(ctx context.Context, log *slog.Logger, err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(ctx.Err(), context.Canceled): // SQLite says interrupted, not why
		log.InfoContext(ctx, "request given up", "error", err)
		return unavailable("the request was given up")
	case ctx.Err() != nil || database.Unreachable(err):
		log.ErrorContext(ctx, "database unreachable", "error", err)
		return unavailable("the database does not answer; try again later")
	}
	log.ErrorContext(ctx, "request failed", "error", err)
	return internalError()
}

func unavailable(message string) *apiError {
	return &apiError{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: message}
}

func internalError() *apiError {
	return &apiError{
		Status: http.StatusInternalServerError, Code: "internal",
		Message: "something went wrong on our side; the logs tell more under the correlation id",
	}
}

func writeError(w http.ResponseWriter, e *apiError) {
	if e.Fields == nil {
		e.Fields = []fieldError{} // one shape: always an array
	}
	// Cannot fail: there are only texts in it.
	_ = writeJSON(w, e.Status, map[string]*apiError{"error": e})
}

// writeJSON encodes before it writes, so that an error still finds the answer
// unwritten. A client that is gone is nobody's error.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
	return nil
}

// parseUUID takes the usual form with hyphens only.
func parseUUID(field, text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, badField(field, "must be a UUID, such as 0198c0de-7a10-7f00-8a44-3e2d1c0b9a87")
	}
	return id, nil
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

func parseLimit(r *http.Request) (int, error) {
	query := r.URL.Query()
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, badField("limit", "must be a whole number from 1 to %d", maxLimit)
	}
	return limit, nil
}
