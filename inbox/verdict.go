package inbox

import (
	"errors"
	"time"
)

// What a handler's error says is to become of its message. Errors of no
// verdict mean: retry by ConsumerConfig.Backoff until MaxAttempts.

// Retry makes a handler's message come again after at least the given delay,
// rounded up to the next rung of the retry ladder and capped at its last. The
// failure counts towards ConsumerConfig.MaxAttempts. A nil err is allowed.
func Retry(err error, after time.Duration) error { return &retryError{err, after} }

// DeadLetter makes a handler's message go to the dead-letter queue at once,
// with ReasonHandler. A nil err is allowed.
func DeadLetter(err error) error { return DeadLetterFor(ReasonHandler, err) }

// DeadLetterFor is DeadLetter with a reason that tells whoever looks after the
// dead letters more: ReasonUndecodable for a payload that cannot be read,
// ReasonContract for one that breaks its contract, ReasonExpired.
func DeadLetterFor(reason Reason, err error) error { return &deadLetterError{reason, err} }

// Unavailable says that something the handler needs, such as another service,
// is away, and that the message is not at fault: no attempt is counted. The
// message is held and handled again with backoff, together with all that wait
// behind it in its worker, so keep it for what would stop them as well. A nil
// err is allowed.
func Unavailable(err error) error { return &unavailableError{err} }

// RetryAfter returns the delay that Retry asked for.
func RetryAfter(err error) (after time.Duration, ok bool) {
	if e, found := errors.AsType[*retryError](err); found {
		return e.after, true
	}
	return 0, false
}

// DeadLetterReason returns the reason under which err asks for the dead-letter
// queue; ok is false where it does not.
func DeadLetterReason(err error) (reason Reason, ok bool) {
	if e, found := errors.AsType[*deadLetterError](err); found {
		return e.reason, true
	}
	return "", false
}

// IsDeadLetter reports whether err asks for the dead-letter queue.
func IsDeadLetter(err error) bool {
	_, ok := DeadLetterReason(err)
	return ok
}

// IsUnavailable reports whether err is an Unavailable.
func IsUnavailable(err error) bool {
	_, ok := errors.AsType[*unavailableError](err)
	return ok
}

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return textOf(e.err, "handler asked to be retried") }
func (e *retryError) Unwrap() error { return e.err }

type deadLetterError struct {
	reason Reason
	err    error
}

func (e *deadLetterError) Error() string {
	return textOf(e.err, "handler asked for the dead-letter queue")
}
func (e *deadLetterError) Unwrap() error { return e.err }

type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return textOf(e.err, "handler lacks what it needs") }
func (e *unavailableError) Unwrap() error { return e.err }

func textOf(err error, otherwise string) string {
	if err == nil {
		return otherwise
	}
	return err.Error()
}
