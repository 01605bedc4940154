package rabbitmq

import (
	"cmp"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Headers of a message that waits for its retry or lies in a dead-letter queue.
const (
	headerAttempts      = "pulse-attempts"
	headerReason        = "pulse-reason"
	headerFirstError    = "pulse-first-error"
	headerLastError     = "pulse-last-error"
	headerFirstFailedAt = "pulse-first-failed-at"
	headerLastFailedAt  = "pulse-last-failed-at"
	headerConsumer      = "pulse-consumer"
	headerExchange      = "pulse-exchange"
)

// headerReturned marks a copy by which a consumer has returned a message to its
// queue: it holds the queue's name.
const headerReturned = "pulse-returned"

// headerDropped names headers of the producer's that had to be left out of a
// dead letter, for want of room.
const headerDropped = "pulse-dropped-headers"

// Headers of a message that was moved back from a dead-letter queue.
const (
	headerEarlier  = "pulse-earlier-failures" // a table for each time, the last one first; see startAfresh
	headerRequeues = "pulse-requeues"         // how often
)

// Bounds of what is remembered of earlier failures.
const (
	maxEarlier      = 5
	maxEarlierError = 256
)

// maxErrorText bounds an error in a header: headers share one AMQP frame.
const maxErrorText = 1024

// failureHistory is the history of a message that could not be handled.
type failureHistory struct {
	Attempts      int // failures so far, this one included
	Reason        inbox.Reason
	FirstError    string
	LastError     string
	FirstFailedAt time.Time
	LastFailedAt  time.Time
	Consumer      string
	Exchange      string // where the message was first published
}

// failed returns the history f with one more failure at the given time. The
// first error, its time and the exchange stay as they were.
func (f failureHistory) failed(reason inbox.Reason, errText, consumer, exchange string, at time.Time) failureHistory {
	errText = clip.Text(errText, maxErrorText, "…")
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

// write puts the history into headers.
func (f failureHistory) write(headers map[string]any) {
	headers[headerAttempts] = int64(f.Attempts)
	setString(headers, headerReason, string(f.Reason))
	setString(headers, headerFirstError, f.FirstError)
	setString(headers, headerLastError, f.LastError)
	setTime(headers, headerFirstFailedAt, f.FirstFailedAt)
	setTime(headers, headerLastFailedAt, f.LastFailedAt)
	setString(headers, headerConsumer, f.Consumer)
	setString(headers, headerExchange, f.Exchange)
}

// readFailures reads the history back; the zero value where there is none.
func readFailures(headers map[string]any) failureHistory {
	attempts, _ := strconv.Atoi(text(headers[headerAttempts])) // 0 where it is none
	return failureHistory{
		Attempts:      attempts,
		Reason:        inbox.Reason(text(headers[headerReason])),
		FirstError:    text(headers[headerFirstError]),
		LastError:     text(headers[headerLastError]),
		FirstFailedAt: readTime(headers[headerFirstFailedAt]),
		LastFailedAt:  readTime(headers[headerLastFailedAt]),
		Consumer:      text(headers[headerConsumer]),
		Exchange:      text(headers[headerExchange]),
	}
}

// clearFailures removes the history, for a message that starts afresh.
func clearFailures(headers map[string]any) {
	for _, name := range []string{headerAttempts, headerReason, headerFirstError, headerLastError,
		headerFirstFailedAt, headerLastFailedAt, headerConsumer, headerExchange} {
		delete(headers, name)
	}
}

// startAfresh changes the headers of a message that leaves a dead-letter queue, so
// that its attempts begin at zero, and remembers why it was there. had are the
// headers with which it was.
func startAfresh(headers, had map[string]any) {
	f := readFailures(had)
	_, last := deaths(had)
	entry := amqp.Table{"requeued-at": time.Now().UTC().Format(time.RFC3339)}
	setString(entry, "reason", cmp.Or(string(f.Reason), text(last["reason"])))
	setString(entry, "error", clip.Text(f.LastError, maxEarlierError, "…"))
	setString(entry, "consumer", f.Consumer)
	setTime(entry, "failed-at", cmp.Or(f.LastFailedAt, deathTime(last)))
	if f.Attempts > 0 {
		entry["attempts"] = int64(f.Attempts)
	}
	earlier, _ := had[headerEarlier].([]any)
	requeues, _ := strconv.Atoi(text(had[headerRequeues]))
	clearFailures(headers)
	delete(headers, headerReturned)
	setString(headers, headerExchange, f.Exchange)
	headers[headerEarlier] = append([]any{entry}, earlier[:min(len(earlier), maxEarlier-1)]...)
	headers[headerRequeues] = int64(max(0, requeues) + 1)
}

// EarlierFailure is why a message was in a dead-letter queue before it was moved
// back.
type EarlierFailure struct {
	Reason, Error, Consumer string
	Attempts                int
	FailedAt, RequeuedAt    time.Time
}

// readEarlier returns the times before, the last one first.
func readEarlier(headers map[string]any) (all []EarlierFailure) {
	list, _ := headers[headerEarlier].([]any)
	for _, each := range list {
		entry, ok := each.(amqp.Table)
		if !ok {
			continue
		}
		attempts, _ := strconv.Atoi(text(entry["attempts"])) // 0 where it is none
		all = append(all, EarlierFailure{
			Reason: text(entry["reason"]), Error: text(entry["error"]), Consumer: text(entry["consumer"]),
			Attempts: attempts, FailedAt: readTime(entry["failed-at"]), RequeuedAt: readTime(entry["requeued-at"]),
		})
	}
	return all
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

func setString(headers map[string]any, name, value string) {
	if value != "" {
		headers[name] = value
	}
}

func text(v any) string {
	s, _ := wire.Scalar(v)
	return s
}
