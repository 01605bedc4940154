// Package fail defines the exit codes and the errors that end a command: what
// failed, why, and the exact next command.
package fail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// Kind is the kind of a failure; it is the "code" of JSON errors.
type Kind string

// The kinds, each with its own exit code.
const (
	General     Kind = "failure"
	Usage       Kind = "usage"
	Partial     Kind = "partial"
	NotFound    Kind = "not-found"
	Unreachable Kind = "unreachable"
	Schema      Kind = "schema"
	Timeout     Kind = "timeout"
	Interrupted Kind = "interrupted"
)

var exitCodes = map[Kind]int{
	General: 1, Usage: 2, Partial: 3, NotFound: 4, Unreachable: 5, Schema: 6, Timeout: 7, Interrupted: 130,
}

// Error ends a command.
type Error struct {
	Kind    Kind
	Message string // what failed
	Cause   error  // why; may be nil
	Hint    string // the next command; may be empty
	// Silent: the command has already printed everything, only the exit code is
	// needed.
	Silent bool
	// Code is the exit code of a command with codes of its own, such as check; 0:
	// that of the kind.
	Code int
	// Final: the exit code is that of this error even if a signal has ended the
	// command, as signals end commands that watch.
	Final bool
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause; for an interruption it is context.Canceled.
func (e *Error) Unwrap() error {
	if e.Cause == nil && e.Kind == Interrupted {
		return context.Canceled
	}
	return e.Cause
}

// ExitCode returns the process's exit code.
func (e *Error) ExitCode() int { return cmp.Or(e.Code, exitCodes[e.Kind]) }

// Usagef returns an error for a mistake on the command line.
func Usagef(hint, format string, args ...any) *Error {
	return &Error{Kind: Usage, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// New returns an error of the given kind without a cause.
func New(kind Kind, hint, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Wrap returns an error with message whose kind is derived from cause. An Error
// is returned unchanged; nil stays nil.
func Wrap(message string, cause error) error {
	if cause == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](cause); ok {
		return e
	}
	kind, hint := classify(cause)
	if kind == Interrupted {
		return interrupted()
	}
	return &Error{Kind: kind, Message: message, Cause: cause, Hint: hint}
}

// CannotReach returns the error for a server that is down, such as the "outbox
// database".
func CannotReach(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Kind: Unreachable, Message: "cannot reach the " + what, Cause: err,
		Hint: "check the URL and that the server is up: pulsectl status"}
}

// Within calls look with a deadline. If that passes the error is of the kind
// Unreachable and says so.
func Within(ctx context.Context, limit time.Duration, look func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := look(within)
	if err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		return New(Unreachable, "", "no answer within %s", limit)
	}
	return err
}

// Reason removes the method and address that net/http puts before the reason.
func Reason(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// From converts any error of a command to an Error.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	kind, hint := classify(err)
	if kind == Interrupted {
		return interrupted()
	}
	return &Error{Kind: kind, Message: err.Error(), Hint: hint}
}

// interrupted returns an error without a cause: the work in progress is not at
// fault.
func interrupted() *Error { return New(Interrupted, "", "interrupted") }

func classify(err error) (Kind, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted, ""
	case errors.Is(err, outbox.ErrSchema), errors.Is(err, inbox.ErrSchema):
		return Schema, "run: pulsectl migrate up"
	case errors.Is(err, outbox.ErrNotFound), errors.Is(err, inbox.ErrNotFound):
		return NotFound, ""
	case errors.Is(err, outbox.ErrUnavailable):
		return Unreachable, "check --amqp-url and that the broker is up: pulsectl status"
	case unreachable(err):
		return Unreachable, "check the URLs and that the services are up: pulsectl status"
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout, ""
	}
	return General, ""
}

// unreachable reports whether err means no connection or a refused one: wrong
// credentials, unknown database, too many clients, a server that is starting or
// stopping.
func unreachable(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok || sqldb.Unanswered(err) || errors.Is(err, rabbit.ErrAccess) {
		return true
	}
	state := sqldb.SQLState(err)
	return strings.HasPrefix(state, "28") || state == "3D000"
}

// KindOf returns the kind with this exit code; General for any other code.
func KindOf(code int) Kind {
	for kind, c := range exitCodes {
		if c == code {
			return kind
		}
	}
	return General
}
