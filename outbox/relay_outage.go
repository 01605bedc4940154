package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/backoff"
)

// retries are the waits of something that is retried until it works.
var retries = backoff.Exponential{First: 100 * time.Millisecond, Longest: 5 * time.Second, Growth: 1}

// retryPause is the wait after the nth consecutive failure.
func retryPause(failures int) time.Duration { return retries.After(failures) }

// outage records that the broker gives no verdicts. While it lasts all lanes wait,
// and try again together with growing pauses.
type outage struct {
	mu         sync.Mutex
	failures   int           // in a row; 0: there is no outage
	since      time.Time     // when the first was; zero: there is no outage
	until      time.Time     // when to try again
	over       chan struct{} // closed when the outage ends; nil: there is none
	lastAnswer time.Time     // when the broker gave its last verdict
}

// begin records that a Publish ended unavailable. Lanes that failed over the
// same event count once.
func (o *outage) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Before(o.until) {
		return
	}
	if o.failures == 0 {
		o.since = now
	}
	o.failures++
	o.until = now.Add(retryPause(o.failures))
	if o.over == nil {
		o.over = make(chan struct{})
	}
}

// beganAt begins an outage that has lasted for a while.
func (o *outage) beganAt(since time.Time) {
	o.begin()
	o.mu.Lock()
	defer o.mu.Unlock()
	if since.Before(o.since) {
		o.since = since
	}
}

// answered records a verdict, which ends the outage and lets the lanes go.
func (o *outage) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
	o.lastAnswer = time.Now()
}

// forget ends an outage without a verdict, for another try.
func (o *outage) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
}

func (o *outage) end() {
	if o.over != nil {
		close(o.over)
	}
	o.failures, o.since, o.until, o.over = 0, time.Time{}, time.Time{}, nil
}

// lasts returns for how long there has been an outage; 0: there is none.
func (o *outage) lasts() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0
	}
	return time.Since(o.since)
}

// answeredSince reports whether the broker gave a verdict after t.
func (o *outage) answeredSince(t time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastAnswer.After(t)
}

// wait returns true when it is time to publish, again or at all; false when
// interrupt had something or ctx ended before.
func (o *outage) wait(ctx context.Context, interrupt <-chan struct{}) bool {
	o.mu.Lock()
	pause, over := time.Until(o.until), o.over
	o.mu.Unlock()
	if over == nil || pause <= 0 {
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return true
	case <-interrupt:
	case <-ctx.Done():
	}
	return false
}
