package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// Error is an answer other than success: {"error": {...}}. Handlers return it
// where the request is at fault.
type Error struct {
	Status  int          `json:"-"`
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Fields  []FieldError `json:"fields"`
	// Challenge is the header WWW-Authenticate; empty: there is none.
	Challenge string `json:"-"`
	// RetryAfter is how long to wait before the next attempt; zero: the answer
	// does not say, and a 503 says a second.
	RetryAfter time.Duration `json:"-"`
	// Problem: the answer is a problem document (RFC 9457), which has the error
	// as a member.
	Problem bool `json:"-"`
}

// FieldError says what is wrong with one field of the request.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// BadField refuses a request for one of its fields.
func BadField(field, format string, args ...any) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: "invalid_request", Message: "the request is not valid; see fields",
		Fields: []FieldError{{field, fmt.Sprintf(format, args...)}},
	}
}

// NotFound answers a path that nobody serves.
func NotFound() *Error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing here"}
}

// MethodNotAllowed answers a method that the path does not serve. methods is
// what the header Allow names.
func MethodNotAllowed(methods string) *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "allowed here: " + methods}
}

// statusClientGone is what the access log tells of a request whose client did
// not wait for the answer; nobody gets to see it. nginx made it known.
const statusClientGone = 499

// Explain turns err into what the client may know, and logs the rest.
func Explain(ctx context.Context, log *slog.Logger, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(context.Cause(ctx), ErrCutOff):
		log.WarnContext(ctx, "request cut off", "error", err)
		return unavailable("the service is stopping; try again")
	case errors.Is(ctx.Err(), context.Canceled): // what the database says of it differs
		log.InfoContext(ctx, "client gone", "error", err)
		return &Error{Status: statusClientGone, Code: "client_gone", Message: "the client did not wait for the answer"}
	case ctx.Err() != nil, outbox.IsDatabaseUnavailable(err):
		log.ErrorContext(ctx, "the database cannot serve a request", "error", err)
		return unavailable("the database cannot serve this now; try again later")
	}
	log.ErrorContext(ctx, "request failed", "error", err)
	return internalError()
}

// Recovered turns a handler's panic into an error of ours, and logs the rest.
// http.ErrAbortHandler goes on to the server.
func Recovered(ctx context.Context, log *slog.Logger, panicked any) *Error {
	if panicked == http.ErrAbortHandler {
		panic(panicked)
	}
	log.ErrorContext(ctx, "panic while handling a request", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
	return internalError()
}

func unavailable(message string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: message}
}

func internalError() *Error {
	return &Error{
		Status: http.StatusInternalServerError, Code: "internal",
		Message: "something went wrong on our side; the logs tell more under the correlation id",
	}
}
