package journey

import (
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	// turnLimit is how long a message may wait for a relay, or for its delivery,
	// before that is worth a remark.
	turnLimit = 10 * time.Second
	// heldLimit is how long a consumer may hold a message before its handler counts
	// as hanging.
	heldLimit = 5 * time.Minute
	// backlog is how many messages a relay needs more than a moment for.
	backlog = 1000
)

// Commands that show more.
const (
	showStatus   = "pulsectl status"
	showTopology = "pulsectl broker topology"
)

// waits reports whether the message waits for nothing but a relay.
func (r *Row) waits(now time.Time) bool {
	return r.Status == outbox.Pending && r.Ahead == nil && r.Attempts == 0 && !r.AvailableAt.After(now)
}

// judge says where a message is, and why it goes no further.
func (f *finder) judge(m *Message) {
	if m.Outbox != nil && m.Outbox.Status != outbox.Published && len(m.applied) == 0 {
		m.Verdict = f.judgeRow(m)
		return
	}
	m.Verdict = f.judgePublished(m)
}

func (f *finder) judgeRow(m *Message) Verdict {
	r := m.Outbox
	switch {
	case r.Status == outbox.Discarded:
		return Verdict{State: Discarded, Why: "it was discarded, and is never published: " + r.LastError}
	case r.Status == outbox.Dead:
		return Verdict{State: Dead, Stuck: true, Command: "pulsectl outbox retry " + m.ID,
			Why: fmt.Sprintf("the relay has given it up after %s: %s", overview.Many(r.Attempts, "attempt"), r.LastError)}
	case r.Paused != nil:
		what, command := "publishing", "pulsectl outbox resume"
		if topic := r.Paused.Topic; topic != "" {
			what, command = "topic "+topic, command+" --topic "+topic
		}
		return Verdict{State: Waiting, Stuck: true, Command: command,
			Why: fmt.Sprintf("%s is paused by %s: %s", what, r.Paused.Actor, r.Paused.Reason)}
	case r.Ahead != nil:
		how := "is retried"
		if r.Ahead.Status == outbox.Dead {
			how = "is dead"
		}
		return Verdict{State: Blocked, Stuck: true, Command: "pulsectl outbox retry " + r.Ahead.ID,
			Why: fmt.Sprintf("the message in front of it, %s of the same key, %s after %s: %s", r.Ahead.ID, how, overview.Many(r.Ahead.Attempts, "attempt"), r.Ahead.LastError)}
	case r.Attempts > 0:
		return Verdict{State: Retrying, Stuck: true, Command: "pulsectl outbox retry " + m.ID,
			Why: fmt.Sprintf("the broker has refused it %s: %s", times(r.Attempts), r.LastError)}
	case r.AvailableAt.After(f.journey.At):
		return Verdict{State: Delayed, Why: "its producer has asked for a later time"}
	}
	return f.judgeWaiting(m)
}

// judgeWaiting says why a message that could be published is not.
func (f *finder) judgeWaiting(m *Message) Verdict {
	r, v := m.Outbox, Verdict{State: Waiting}
	relays := f.relays
	if r.Next {
		relays = f.nextRelays
	}
	live := 0
	for _, relay := range relays {
		if relay.Live {
			live++
		}
	}
	waiting := f.journey.At.Sub(later(r.CreatedAt, r.AvailableAt))
	v.Stuck, v.Command = true, showStatus
	switch {
	case f.broker != "" && !r.Next:
		v.Why = f.broker + "; it is published by itself when the broker is back"
		v.Command = first(f.BrokerUp, showStatus)
	case live == 0:
		v.Why = "no relay is ready to publish it: start the service that runs one, or give it one: pulsectl relay run"
	case r.Relay == "" && waiting > turnLimit:
		v.Why = fmt.Sprintf("no relay holds the lease of its bucket, %d", r.Bucket)
	case r.Before > 0 && (waiting < time.Minute || r.Before >= backlog):
		v.Stuck, v.Command = false, ""
		v.Why = fmt.Sprintf("it has to wait its turn: before it in the outbox are %s pending", overview.Bounded(int64(r.Before), !r.BeforeMore))
	case waiting > turnLimit:
		v.Why = fmt.Sprintf("relay %s has not published it for %v: the broker confirms nothing for its topic, or the relay hangs", r.Relay, waiting.Round(time.Second))
	default:
		v.Stuck, v.Command, v.Why = false, "", "it is about to be published"
	}
	return v
}

// judgePublished judges a message that has left the outbox, or was never in it.
func (f *finder) judgePublished(m *Message) Verdict {
	consumer := "its consumer"
	if f.Inbox != nil {
		consumer = f.Inbox.Consumer()
	}
	letter, retry, queued := m.copyIn(DeadLetters), m.copyIn(InRetry), m.copyIn(InQueue)
	if letter != nil && letter.Reason == string(inbox.ReasonConflict) {
		return Verdict{State: Conflict, Stuck: true, Command: "pulsectl dlq show " + m.ID,
			Why: "another message was applied under its id before, and this one is a dead letter: undo the effect and delete the row in processed_events, or keep it as it is"}
	}
	if len(m.applied) > 0 && (f.Inbox == nil || m.applied[consumer] || letter == nil && retry == nil && queued == nil && f.receives(f.ctx, m.Topic) != yes) {
		return f.judgeApplied(m)
	}
	switch {
	case letter != nil:
		return judgeLetter(m, letter)
	case retry != nil:
		return Verdict{State: Retry, Why: fmt.Sprintf("its handler has failed %s: %s; it is tried again by itself", times(retry.Attempts), first(retry.Error, retry.Reason))}
	case queued != nil:
		return f.judgeQueued(m, fmt.Sprintf("it is number %d", queued.Position))
	}
	return f.judgeUnseen(m, consumer)
}

func (f *finder) judgeApplied(m *Message) Verdict {
	v := Verdict{State: Applied}
	for _, a := range m.Inbox {
		if a.OtherBody {
			v.Why = fmt.Sprintf("%s has applied another body under its id than the outbox has: that is a conflict, unless it changes bodies before it applies them", a.Consumer)
			v.Command = "pulsectl outbox show " + m.ID
		}
	}
	if n := len(m.Copies); n > 0 && v.Why == "" {
		v.Why = fmt.Sprintf("queues hold %d more of it, which will be skipped as duplicates", n)
	}
	return v
}

func judgeLetter(m *Message, c *Copy) Verdict {
	v := Verdict{State: DeadLettered, Stuck: true, Command: "pulsectl dlq requeue " + m.ID}
	if reason := inbox.Reason(c.Reason); reason == inbox.ReasonUndecodable || reason == inbox.ReasonConflict {
		v.Command = "pulsectl dlq show " + m.ID // it would come back
	}
	who := first(c.Consumer, "the broker, or a tool,")
	v.Why = who + " has dead-lettered it"
	if c.Attempts > 0 {
		v.Why += " after " + overview.Many(c.Attempts, "attempt")
	}
	if text := strings.TrimSuffix(first(c.Reason, "reason not known")+": "+c.Error, ": "); text != "" {
		v.Why += ", " + text
	}
	return v
}

// judgeQueued judges a message that is in the consumer's queue.
func (f *finder) judgeQueued(m *Message, where string) Verdict {
	q := f.queue(InQueue)
	if q.Consumers == 0 {
		return Verdict{State: Queued, Stuck: true, Command: showStatus,
			Why: fmt.Sprintf("queue %s holds %s, and nobody consumes it: start the consumer; %s", q.Name, overview.Many(q.Ready, "message"), where)}
	}
	return Verdict{State: Queued, Why: fmt.Sprintf("queue %s holds %s for %s; %s", q.Name, overview.Many(q.Ready, "message"), overview.Many(q.Consumers, "consumer"), where)}
}

// judgeUnseen judges a message that is published, and neither applied nor seen
// in a queue: it is where nobody has looked, or gone.
func (f *finder) judgeUnseen(m *Message, consumer string) Verdict {
	unknown := func(format string, args ...any) Verdict {
		return Verdict{State: Unknown, Why: fmt.Sprintf(format, args...)}
	}
	published := "it is published"
	if m.Outbox == nil {
		published = "no outbox that was looked at has it"
	}
	switch {
	case f.queuesErr != nil:
		return unknown("%s and not known to be applied; where it is could not be looked at: %s", published, because(f.queuesErr))
	case f.Inbox == nil && m.Outbox != nil:
		return Verdict{State: Published, Why: published + "; whether it was applied is not known: " + because(f.inboxErr)}
	case f.Inbox == nil:
		return unknown("whether it was applied is not known: %s", because(f.inboxErr))
	case f.receives(f.ctx, m.Topic) != yes:
		return Verdict{State: Published, Why: fmt.Sprintf("%s; consumer %s has not applied it, and is not known to get topic %s", published, consumer, m.Topic)}
	case !f.looked:
		return unknown("%s and not applied by %s; where it is was not looked at: %s", published, consumer, because(f.queuesErr))
	}
	if q := f.queue(InQueue); q.Missing {
		return Verdict{State: Missing, Stuck: true, Command: showTopology,
			Why: fmt.Sprintf("queue %s does not exist: no consumer has declared it, or it was deleted", q.Name)}
	} else if q.Ready > 0 {
		return f.judgeQueued(m, "it may be one of them")
	}
	for _, q := range f.journey.Queues {
		if q.NotLooked != "" && q.Ready > 0 {
			return Verdict{State: Unknown, Command: fmt.Sprintf("pulsectl trace %s --look-limit %d", m.ID, 2*q.Ready),
				Why: fmt.Sprintf("it may be one of %s in %s, which was not looked into: %s", overview.Many(q.Ready, "message"), q.Name, q.NotLooked)}
		}
	}
	return f.judgeHeld(m, consumer)
}

// judgeHeld judges a message that is in no queue.
func (f *finder) judgeHeld(m *Message, consumer string) Verdict {
	for _, a := range m.Inbox {
		if a.Consumer == consumer && a.Started > 0 {
			return Verdict{State: Handling, Stuck: f.journey.At.Sub(a.StartedAt) > heldLimit, Command: showStatus,
				Why: fmt.Sprintf("%s has started it %s without an end: it is being handled, or takes the process down", consumer, times(a.Started))}
		}
	}
	for _, i := range f.instances {
		if !i.Live || i.Held == 0 || i.Queue != "" && i.Queue != f.Queues.Source.Queue {
			continue
		}
		age := i.SeenAt.Sub(i.OldestHeld)
		v := Verdict{State: Handling, Why: fmt.Sprintf("consumer %s holds %s, the oldest for %v: it may be one of them", i.Name, overview.Many(i.Held, "message"), age.Round(time.Second))}
		if age > heldLimit {
			v.Stuck, v.Command = true, showStatus
		}
		return v
	}
	if m.Outbox != nil && f.journey.At.Sub(m.Outbox.PublishedAt) < turnLimit {
		return Verdict{State: Handling, Why: "it was published a moment ago, and is on its way"}
	}
	v := Verdict{State: Missing, Stuck: true, Why: fmt.Sprintf(
		"%s has not applied it, and it is in none of its queues: a queue was purged or deleted, the inbox's database set back, or a tool holds it", consumer)}
	if m.Outbox != nil {
		v.Command = "pulsectl replay " + m.ID
	}
	return v
}

func (m *Message) copyIn(place Place) *Copy {
	for i := range m.Copies {
		if m.Copies[i].Place == place {
			return &m.Copies[i]
		}
	}
	return nil
}

// queue returns the state of the queue of a kind.
func (f *finder) queue(place Place) QueueState {
	for _, q := range f.journey.Queues {
		if q.Place == place {
			return q
		}
	}
	return QueueState{}
}

func because(err error) string {
	if err == nil {
		return "it was not given"
	}
	return err.Error()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return reconcile.Thousands(n) + " times"
}
