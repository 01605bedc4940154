package inbox

import "time"

// How handler errors are interpreted. An error of none of these types means:
// retry by ConsumerConfig.Backoff until MaxAttempts.

// Retry returns a *RetryError: the message is delivered again after at least
// the given delay, rounded up to the next of the source's retry delays and
// capped at the last. The failure counts towards ConsumerConfig.MaxAttempts.
// err may be nil.
func Retry(err error, after time.Duration) error { return &RetryError{err, after} }

// DeadLetter is DeadLetterFor with ReasonHandler.
func DeadLetter(err error) error { return DeadLetterFor(err, ReasonHandler) }

// DeadLetterFor returns a *DeadLetterError: the message is dead-lettered at
// once, with a reason for whoever inspects it, such as ReasonUndecodable for a
// payload that cannot be read, ReasonContract for one that breaks its contract,
// or ReasonExpired. err may be nil.
func DeadLetterFor(err error, reason Reason) error { return &DeadLetterError{err, reason} }

// Unavailable returns an *UnavailableError: something that the handler needs,
// such as another service, is not available, and the message is not at fault.
// No attempt is counted. The message is held and handled again with backoff,
// as are all that wait behind it in its worker, so use it for what would stop
// them as well. err may be nil.
func Unavailable(err error) error { return &UnavailableError{err} }

// RetryError asks for a retry after a delay; see Retry.
type RetryError struct {
	Err   error // may be nil
	After time.Duration
}

func (e *RetryError) Error() string { return textOf(e.Err, "handler asked to be retried") }
func (e *RetryError) Unwrap() error { return e.Err }

// DeadLetterError asks for the dead-letter queue; see DeadLetterFor.
type DeadLetterError struct {
	Err    error // may be nil
	Reason Reason
}

func (e *DeadLetterError) Error() string {
	return textOf(e.Err, "handler asked for the dead-letter queue")
}
func (e *DeadLetterError) Unwrap() error { return e.Err }

// UnavailableError asks for the message to be held; see Unavailable.
type UnavailableError struct{ Err error } // Err may be nil

func (e *UnavailableError) Error() string { return textOf(e.Err, "handler lacks what it needs") }
func (e *UnavailableError) Unwrap() error { return e.Err }

func textOf(err error, otherwise string) string {
	if err == nil {
		return otherwise
	}
	return err.Error()
}
