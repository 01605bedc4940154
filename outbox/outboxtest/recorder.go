package outboxtest

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
)

// waitLimit is how long WaitFor waits unless the test's own deadline is nearer.
const waitLimit = 10 * time.Second

// Recorder is an outbox.Publisher for tests. It records the messages, and accepts
// all of them unless told otherwise. The zero value is ready to use. It is safe for
// concurrent use.
type Recorder struct {
	mu       sync.Mutex
	attempts []Attempt
	tries    map[uuid.UUID]int
	next     []error
	down     error
	respond  func(m outbox.Message, try int) error
	changed  chan struct{} // closed and replaced with every attempt; nil: nobody waits
}

var _ outbox.Publisher = (*Recorder)(nil)

// Attempt is a message that was passed to a Recorder, and the result.
type Attempt struct {
	Message outbox.Message
	Err     error // nil: published
}

// Publish implements outbox.Publisher. For each message the first of these
// that is set decides: ctx has ended, SetDown, FailNext, Respond.
func (r *Recorder) Publish(ctx context.Context, msgs []outbox.Message) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := make([]error, len(msgs))
	for i, m := range msgs {
		results[i] = r.answer(ctx, m)
		m.Payload = bytes.Clone(m.Payload)
		m.Headers = maps.Clone(m.Headers)
		r.attempts = append(r.attempts, Attempt{m, results[i]})
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return results
}

func (r *Recorder) answer(ctx context.Context, m outbox.Message) error {
	if r.tries == nil {
		r.tries = make(map[uuid.UUID]int)
	}
	r.tries[m.ID]++
	switch {
	case ctx.Err() != nil:
		return outbox.Unavailable(context.Cause(ctx))
	case r.down != nil:
		return r.down
	case len(r.next) > 0:
		err := r.next[0]
		r.next = r.next[1:]
		return err
	case r.respond != nil:
		return r.respond(m, r.tries[m.ID])
	}
	return nil
}

// SetDown makes the result for all messages outbox.Unavailable(err), as in an outage;
// nil ends it.
func (r *Recorder) SetDown(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = nil
	if err != nil {
		r.down = outbox.Unavailable(err)
	}
}

// FailNext queues results for the next messages, one for each; nil accepts a message.
// Use errors with a class, such as outbox.Rejected(err).
func (r *Recorder) FailNext(errs ...error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(r.next, errs...)
}

// Respond sets a function that returns the result for a message; try is 1 when its id
// is seen first. It is not called concurrently and must not call the Recorder. Nil
// accepts everything.
func (r *Recorder) Respond(answer func(m outbox.Message, try int) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = answer
}

// Attempts returns all attempts so far, in order.
func (r *Recorder) Attempts() []Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Attempt(nil), r.attempts...)
}

// Published returns the messages that were accepted so far, in order. A message that
// was accepted twice is included twice.
func (r *Recorder) Published() []outbox.Message {
	published, _ := r.published()
	return published
}

// WaitFor waits until n messages were accepted and returns them. It fails the test
// after 10 s, or shortly before the deadline of the test.
func (r *Recorder) WaitFor(t testing.TB, n int) []outbox.Message {
	t.Helper()
	timeout := time.NewTimer(patience(t))
	defer timeout.Stop()
	for {
		published, changed := r.published()
		if len(published) >= n {
			return published
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("%d of %d messages were published; attempts so far: %d, the last: %v",
				len(published), n, len(r.Attempts()), r.lastErr())
		}
	}
}

func (r *Recorder) published() (published []outbox.Message, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.attempts {
		if a.Err == nil {
			published = append(published, a.Message)
		}
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return published, r.changed
}

func (r *Recorder) lastErr() error {
	attempts := r.Attempts()
	if len(attempts) == 0 {
		return nil
	}
	return attempts[len(attempts)-1].Err
}

// patience leaves the test time to report before its deadline ends it.
func patience(t testing.TB) time.Duration {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, set := d.Deadline(); set {
			return max(0, min(waitLimit, time.Until(deadline)-time.Second))
		}
	}
	return waitLimit
}
