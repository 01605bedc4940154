package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

const (
	// maxSilent limits the number of suspended topics. If more get no verdicts, the
	// relay waits as in an outage of the whole broker.
	maxSilent = 10_000
	// untriedLimit is how long a topic stays suspended that no lane tries, because
	// none knows a message of it any more.
	untriedLimit = 30 * time.Second
)

// suspensions are the suspended topics: the broker gives no verdicts on their
// messages, while it does on others or at least answers. Their queue has no majority,
// or hangs. Lanes skip their messages, and try a few of them from time to time.
type suspensions struct {
	mu     sync.Mutex
	silent map[string]*suspension
	log    logQuota
}

// logQuota limits log lines about topics that are suspended and resumed.
type logQuota struct {
	began time.Time
	lines int
}

// allow reports whether there is room for a line; the caller holds the lock.
func (q *logQuota) allow() bool {
	const interval, most = 10 * time.Second, 10
	if now := time.Now(); now.Sub(q.began) >= interval {
		q.began, q.lines = now, 0
	}
	q.lines++
	return q.lines <= most
}

// suspension is the state of a suspended topic.
type suspension struct {
	since    time.Time
	err      error
	failures int       // in a row
	tried    time.Time // when it was last
	until    time.Time // when to try again
	trying   bool      // a lane is trying it
}

// suspend suspends a topic, or prolongs that, because of err. fresh reports whether
// it was not suspended before, ok whether there was room.
func (t *suspensions) suspend(topic string, err error) (fresh, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, now := t.silent[topic], time.Now()
	switch {
	case s != nil && now.Before(s.until):
		return false, true // another lane has met the same
	case s == nil && len(t.silent) >= maxSilent:
		return false, false
	case s == nil:
		if t.silent == nil {
			t.silent = make(map[string]*suspension)
		}
		s, fresh = &suspension{since: now}, true
		t.silent[topic] = s
	}
	s.err = err
	s.failures++
	s.tried = now
	s.until = now.Add(retryPause(s.failures))
	return fresh, true
}

// resume ends the suspension of a topic and returns when it began; zero: it was not
// suspended.
func (t *suspensions) resume(topic string) (since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.silent[topic]
	if s == nil {
		return since
	}
	delete(t.silent, topic)
	// What repaired one may have repaired others.
	for _, other := range t.silent {
		other.until = time.Time{}
	}
	return s.since
}

// clear resumes all topics.
func (t *suspensions) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent = nil
}

// beginTrial gives the right to try a topic, if it is time to; endTrial returns it.
func (t *suspensions) beginTrial(topic string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.silent[topic]
	if s == nil || s.trying || time.Now().Before(s.until) {
		return false
	}
	s.trying = true
	return true
}

func (t *suspensions) endTrial(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.silent[topic]; s != nil {
		s.trying = false
	}
}

// names returns the suspended topics; nil: none. Topics that no lane has tried for
// long are resumed; untried is their number.
func (t *suspensions) names() (names map[string]bool, untried int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.silent) == 0 {
		return nil, 0
	}
	names = make(map[string]bool, len(t.silent))
	for topic, s := range t.silent {
		if !s.trying && time.Since(s.tried) > untriedLimit {
			delete(t.silent, topic)
			untried++
		} else {
			names[topic] = true
		}
	}
	return names, untried
}

// errSuspended is what the health handler shows of it.
const errSuspended = health.Public("suspended")

// list returns the suspended topics, the longest suspended first.
func (t *suspensions) list() (list []SuspendedTopic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, s := range t.silent {
		list = append(list, SuspendedTopic{Topic: topic, Since: s.since, Reason: s.err.Error()})
	}
	slices.SortFunc(list, func(a, b SuspendedTopic) int { return a.Since.Compare(b.Since) })
	return list
}

// problem returns an error that names suspended topics; nil: there are none.
func (t *suspensions) problem() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first string
	for topic, s := range t.silent {
		if first == "" || s.since.Before(t.silent[first].since) {
			first = topic
		}
	}
	switch n := len(t.silent); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s is %w: %w", first, errSuspended, t.silent[first].err)
	default:
		return fmt.Errorf("%s and %d more are %w: %w", first, n-1, errSuspended, t.silent[first].err)
	}
}

// mayLog reports whether a line about a topic may be logged.
func (t *suspensions) mayLog() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.allow()
}

// suspend suspends a topic because of err; false: there are too many.
func (r *Relay) suspend(ctx context.Context, topic string, err error) bool {
	fresh, ok := r.suspended.suspend(topic, err)
	if fresh && r.suspended.mayLog() {
		r.log.WarnContext(ctx, "topic suspended: none of its messages can be published, for the reason in error; a few are tried from time to time", "topic", topic, "error", err)
	}
	r.monitor.trouble(ctx, partTopics, r.suspended.problem())
	return ok
}

// resume resumes a topic that has got a verdict.
func (r *Relay) resume(ctx context.Context, topic string) {
	since := r.suspended.resume(topic)
	if since.IsZero() {
		return
	}
	if r.suspended.mayLog() {
		r.log.InfoContext(ctx, "topic resumed", "topic", topic, "after", time.Since(since))
	}
	r.monitor.trouble(ctx, partTopics, r.suspended.problem())
	r.Wake()
}

// silentTopics returns the suspended topics; nil: none.
func (r *Relay) silentTopics(ctx context.Context) map[string]bool {
	names, untried := r.suspended.names()
	if untried > 0 {
		r.monitor.trouble(ctx, partTopics, r.suspended.problem())
	}
	return names
}

// ping returns nil if the broker answers, or if the publisher is not a Pinger.
func (r *Relay) ping(ctx context.Context) error {
	p, ok := r.publisher.(Pinger)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return p.Ping(ctx)
}

const (
	partTopics = "topics"
	// pingTimeout is for Pingers that have no limit of their own.
	pingTimeout = 10 * time.Second
)
