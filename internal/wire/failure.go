package wire

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Headers of a message that waits for its retry or lies in a dead-letter queue.
const (
	HeaderAttempts      = "pulse-attempts"
	HeaderReason        = "pulse-reason"
	HeaderFirstError    = "pulse-first-error"
	HeaderLastError     = "pulse-last-error"
	HeaderFirstFailedAt = "pulse-first-failed-at"
	HeaderLastFailedAt  = "pulse-last-failed-at"
	HeaderConsumer      = "pulse-consumer"
	HeaderExchange      = "pulse-exchange"
)

// HeaderReturned marks a copy by which a consumer has given a message back to
// its queue: it holds the queue's name.
const HeaderReturned = "pulse-returned"

// HeaderDropped names headers of the producer's that had to be left out of a
// dead letter, for want of room.
const HeaderDropped = "pulse-dropped-headers"

// Reason says why a message was set aside.
type Reason string

// The reasons the contract knows.
const (
	ReasonHandler     Reason = "handler"      // the handler failed, or asked for it
	ReasonUndecodable Reason = "undecodable"  // no message could be read from the delivery
	ReasonConflict    Reason = "conflict"     // same event id, other payload
	ReasonCrashLoop   Reason = "crash-loop"   // it took the process down each time
	ReasonContract    Reason = "contract"     // the payload breaks its message contract
	ReasonExpired     Reason = "expired"      // too old to be of use
	ReasonUnknownType Reason = "unknown-type" // the consumer has no handler for its type
)

// maxErrorText bounds an error in a header: headers share one AMQP frame.
const maxErrorText = 1024

// Failure is the history of a message that could not be handled.
type Failure struct {
	Attempts      int // failures so far, this one included
	Reason        Reason
	FirstError    string
	LastError     string
	FirstFailedAt time.Time
	LastFailedAt  time.Time
	Consumer      string
	Exchange      string // where the message was first published
}

// Failed returns the history f with one more failure at the given time. The
// first error, its time and the exchange stay as they were.
func (f Failure) Failed(reason Reason, errText, consumer, exchange string, at time.Time) Failure {
	errText = clip(errText)
	f.Attempts++
	f.Reason = reason
	f.LastError = errText
	f.LastFailedAt = at
	f.Consumer = consumer
	if f.FirstError == "" {
		f.FirstError = errText
	}
	if f.FirstFailedAt.IsZero() {
		f.FirstFailedAt = at
	}
	if f.Exchange == "" {
		f.Exchange = exchange
	}
	return f
}

// Write puts the history into headers.
func (f Failure) Write(headers map[string]any) {
	headers[HeaderAttempts] = int64(f.Attempts)
	setString(headers, HeaderReason, string(f.Reason))
	setString(headers, HeaderFirstError, f.FirstError)
	setString(headers, HeaderLastError, f.LastError)
	setTime(headers, HeaderFirstFailedAt, f.FirstFailedAt)
	setTime(headers, HeaderLastFailedAt, f.LastFailedAt)
	setString(headers, HeaderConsumer, f.Consumer)
	setString(headers, HeaderExchange, f.Exchange)
}

// ReadFailure reads the history back; the zero value where there is none.
func ReadFailure(headers map[string]any) Failure {
	attempts, _ := integer(headers[HeaderAttempts])
	return Failure{
		Attempts:      int(attempts),
		Reason:        Reason(text(headers[HeaderReason])),
		FirstError:    text(headers[HeaderFirstError]),
		LastError:     text(headers[HeaderLastError]),
		FirstFailedAt: readTime(headers[HeaderFirstFailedAt]),
		LastFailedAt:  readTime(headers[HeaderLastFailedAt]),
		Consumer:      text(headers[HeaderConsumer]),
		Exchange:      text(headers[HeaderExchange]),
	}
}

// ClearFailure removes the history, for a message that starts afresh.
func ClearFailure(headers map[string]any) {
	for _, name := range []string{HeaderAttempts, HeaderReason, HeaderFirstError, HeaderLastError,
		HeaderFirstFailedAt, HeaderLastFailedAt, HeaderConsumer, HeaderExchange} {
		delete(headers, name)
	}
}

func setTime(headers map[string]any, name string, at time.Time) {
	if !at.IsZero() {
		headers[name] = at.UTC().Format(time.RFC3339Nano)
	}
}

func readTime(v any) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text(v))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// clip shortens an error text to what a header may hold, at a rune's boundary.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxErrorText {
		return s
	}
	cut := maxErrorText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
