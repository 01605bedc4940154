package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// Queues is the state of the queues of one consumer at one moment, as the
// broker reports it.
type Queues struct {
	Ready        int // in the queue itself, waiting for delivery
	Retrying     int // in the retry queues
	DeadLettered int
	// Unacked messages of all these queues were delivered and not yet
	// acknowledged. Negative: unknown.
	Unacked int
	// UnackedLag is how old Unacked may be.
	UnackedLag time.Duration
	// Holders counts the consumers of all these queues, and other holders of
	// their messages: see Broker.CountsHolders.
	Holders int
	Missing []string // queues that do not exist
}

// rounds is how often the queues have to be seen empty, and each time after
// that all holders. Once is not enough: a single look can miss a message that
// is moving from one holder to another.
const rounds = 2

// evidence tracks what queues and consumers report, until no one can hold an
// event that is still not applied.
//
// In one round the queues are empty at some moment, and after it every consumer
// reports that everything it holds came later. A message that was in a queue or
// held before that moment has then been applied, moved to a retry queue, or
// dead-lettered. This also works while new messages arrive.
type evidence struct {
	done      int       // number of rounds completed
	empty     time.Time // when the queues were empty in this round, by the inbox's database; zero: not yet
	instances []string  // that ran at that time; they requeue messages when they stop
	began     time.Time // of the first round, by the process's clock
}

// observe takes the reports of queues and consumers and returns what to wait
// for: nothing once the rounds are complete. hidden says that there may be
// holders that the broker does not count.
func (e *evidence) observe(q Queues, hidden bool, now time.Time, all []inbox.InstanceStatus, settings Comparison, at time.Time) (waiting []string) {
	live := slices.DeleteFunc(slices.Clone(all), func(i inbox.InstanceStatus) bool { return !i.Live })
	waiting = blind(q, hidden, live, settings)
	if q.Retrying > 0 {
		waiting = append(waiting, fmt.Sprintf("%s wait for a retry", Thousands(q.Retrying)))
	}
	if len(waiting) > 0 {
		*e = evidence{}
		if q.Ready > 0 {
			waiting = slices.Insert(waiting, 0, fmt.Sprintf("%s ready in queue %s", Thousands(q.Ready), settings.Queue))
		}
		return append(waiting, held(live, time.Time{})...)
	}
	names := ids(live)
	if !e.empty.IsZero() && !slices.Equal(names, e.instances) {
		*e = evidence{}
	}
	if e.empty.IsZero() {
		if q.Ready > 0 {
			return append([]string{fmt.Sprintf("%s ready in queue %s", Thousands(q.Ready), settings.Queue)}, held(live, time.Time{})...)
		}
		e.empty, e.instances = now, names
		if e.began.IsZero() {
			e.began = at
		}
	}
	if q.Unacked < 0 {
		if waiting = held(live, e.empty); len(waiting) > 0 {
			return waiting
		}
	} else if q.Unacked > 0 {
		return []string{fmt.Sprintf("%s delivered and not acknowledged", Thousands(q.Unacked))}
	}
	if now.Equal(e.empty) { // the same look: holders must be checked after it
		return []string{"a second look at the queues"}
	}
	e.done++
	e.empty = time.Time{}
	if e.done < rounds || at.Sub(e.began) < q.UnackedLag {
		return []string{"a second look at the queues"}
	}
	return nil
}

// blind lists what cannot be seen: missing queues, and holders that do not
// report.
func blind(q Queues, hidden bool, live []inbox.InstanceStatus, settings Comparison) (reasons []string) {
	if len(q.Missing) > 0 {
		reasons = append(reasons, fmt.Sprintf("queues do not exist (%s): messages in other retry or dead-letter queues cannot be seen; see --retry-delays", strings.Join(q.Missing, ", ")))
	}
	if q.Unacked >= 0 || settings.AssumeNotHeld {
		return reasons
	}
	speaking := 0
	for _, i := range live {
		if i.Subscribed && (i.Queue == "" || i.Queue == settings.Queue) {
			speaking++
		}
	}
	switch silent := q.Holders - speaking; {
	case silent > 0:
		reasons = append(reasons, fmt.Sprintf("%s of %s consumers or tools at its queues do not report what they hold unacknowledged", Thousands(silent), Thousands(q.Holders)))
	case hidden:
		reasons = append(reasons, "its queues are classic, or this user cannot read their type: a tool that holds their messages cannot be seen over AMQP; see --management-url and --assume-not-held")
	}
	return reasons
}

// reportDelay is the longest time between a consumer's report and its time in
// the database, plus the time that a message is on the wire to the consumer.
const reportDelay = 1500 * time.Millisecond

// held names the consumers that may hold messages from before a moment: those
// that have not reported since, or report that they do. The zero time stands
// for now.
func held(live []inbox.InstanceStatus, since time.Time) (reasons []string) {
	for _, i := range live {
		bound := since.Add(reportDelay)
		switch {
		case i.Held > 0 && (since.IsZero() || !i.OldestHeld.After(bound)):
			reasons = append(reasons, fmt.Sprintf("consumer %s holds %s, the oldest for %s", i.Name, Thousands(i.Held),
				i.SeenAt.Sub(i.OldestHeld).Round(time.Second)))
		case !since.IsZero() && !i.SeenAt.After(bound):
			reasons = append(reasons, fmt.Sprintf("consumer %s to report what it holds", i.Name))
		}
	}
	return reasons
}

func ids(live []inbox.InstanceStatus) []string {
	names := make([]string, len(live))
	for i, instance := range live {
		names[i] = instance.Name
	}
	slices.Sort(names)
	return names
}
