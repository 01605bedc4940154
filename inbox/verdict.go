package inbox

import (
	"errors"
	"time"
)

// Retry makes a handler's message come again after at least the given delay,
// rounded up to the next rung of the retry ladder and capped at its last. The
// failure counts towards ConsumerConfig.MaxAttempts. A nil err is allowed.
func Retry(err error, after time.Duration) error { return &retryError{err, after} }

// DeadLetter makes a handler's message go to the dead-letter queue at once. A
// nil err is allowed.
func DeadLetter(err error) error { return &deadLetterError{err} }

// RetryAfter returns the delay that Retry asked for.
func RetryAfter(err error) (after time.Duration, ok bool) {
	if e, found := errors.AsType[*retryError](err); found {
		return e.after, true
	}
	return 0, false
}

// IsDeadLetter reports whether err asks for the dead-letter queue.
func IsDeadLetter(err error) bool {
	_, found := errors.AsType[*deadLetterError](err)
	return found
}

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string {
	if e.err == nil {
		return "handler asked to be retried"
	}
	return e.err.Error()
}
func (e *retryError) Unwrap() error { return e.err }

type deadLetterError struct{ err error }

func (e *deadLetterError) Error() string {
	if e.err == nil {
		return "handler asked for the dead-letter queue"
	}
	return e.err.Error()
}
func (e *deadLetterError) Unwrap() error { return e.err }
