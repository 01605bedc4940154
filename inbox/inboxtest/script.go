package inboxtest

import (
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// waitLimit is how long helpers wait for something to happen.
const waitLimit = 30 * time.Second

// Disconnect loses the connection of every consumer: what they hold goes back
// to the head of the queue, marked redelivered, and its settlement returns
// inbox.ErrStale. What a consumer has committed and not yet acknowledged is
// redelivered, as after a crash between commit and ack.
func (q *Queue) Disconnect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := slices.Clone(q.out)
	for _, t := range lost {
		q.release(t)
	}
	q.requeue(true, lost...)
}

// RefuseSettlements makes the next settlements fail, one for each error; nil
// lets one pass. The delivery stays unsettled, and may be settled again.
func (q *Queue) RefuseSettlements(errs ...error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = append(q.refuse, errs...)
}

// EndDelays makes all messages that wait for their retry ready now.
func (q *Queue) EndDelays() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range slices.Clone(q.retrying) {
		r.timer.Stop()
		q.endDelay(r)
	}
}

// Ready is the number of messages that wait to be handed out.
func (q *Queue) Ready() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready)
}

// Unsettled is the number of deliveries that consumers hold.
func (q *Queue) Unsettled() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.out)
}

// Retrying is the number of messages that wait for their retry.
func (q *Queue) Retrying() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.retrying)
}

// Settled returns the settlements carried out with one of the given actions,
// in order; all of them when none is given.
func (q *Queue) Settled(actions ...inbox.Action) []inbox.Settlement {
	q.mu.Lock()
	defer q.mu.Unlock()
	var found []inbox.Settlement
	for _, s := range q.settled {
		if len(actions) == 0 || slices.Contains(actions, s.Action) {
			found = append(found, s)
		}
	}
	return found
}

// Acked returns the ids of the acknowledged messages in order.
func (q *Queue) Acked() []string {
	var ids []string
	for _, s := range q.Settled(inbox.ActionAck) {
		ids = append(ids, s.Delivery.Message.ID)
	}
	return ids
}

// DeadLetters returns the settlements that were carried out as dead letters, in
// order.
func (q *Queue) DeadLetters() []inbox.Settlement { return q.Settled(inbox.ActionDeadLetter) }

// WaitUntilEmpty returns once nothing is ready, held or waiting for a retry, and
// fails the test when that takes more than half a minute.
func (q *Queue) WaitUntilEmpty(t testing.TB) {
	t.Helper()
	q.WaitFor(t, "an empty queue", q.Empty)
}

// Empty reports whether nothing is ready, held or waiting for a retry at one
// moment. Counts that are read one after the other miss a message that goes from
// one to the next.
func (q *Queue) Empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready)+len(q.out)+len(q.retrying) == 0
}

// WaitFor returns once cond is true, which is called again after every change
// of the queue. what completes the sentence "timed out waiting for".
func (q *Queue) WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	timeout := time.NewTimer(waitLimit)
	defer timeout.Stop()
	for {
		q.mu.Lock()
		changed := q.changed
		q.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("timed out after %v waiting for %s; ready %d, held %d, retrying %d, settled %d",
				waitLimit, what, q.Ready(), q.Unsettled(), q.Retrying(), len(q.Settled()))
		}
	}
}
