package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// Queues is what the broker tells of the queues of one consumer at one moment.
type Queues struct {
	Ready        int // in the queue itself, to be delivered
	Retrying     int // in the retry queues
	DeadLettered int
	// Unacked messages of all these queues were delivered to somebody and are
	// not settled. Negative: the broker does not tell.
	Unacked int
	// UnackedLag is how old that number may be.
	UnackedLag time.Duration
	// Holders are the consumers of all these queues together, and whoever else
	// holds messages of them: see Broker.CountsHolders.
	Holders int
	Missing []string // queues that do not exist
}

// rounds is how often the queues have to be seen empty, and after each of
// these times every hand. Once does not do: while a message goes from hand to
// hand it may pass by one look.
const rounds = 2

// evidence follows what queues and consumers say, until an event that is still
// not applied can be in nobody's hands.
//
// In one round the queues are empty at some moment, and after it every
// consumer says that all it holds came later. What was in a queue or in a hand
// before that moment has then been applied, parked in a retry queue, or set
// aside. That also holds while new messages flow.
type evidence struct {
	done      int       // rounds
	empty     time.Time // of the inbox's database: when the queues were, in this round; zero: not yet
	instances []string  // that lived then; they give messages back when they end
	began     time.Time // of the first round, by the process's clock
}

// observe takes what queues and consumers say and returns what is still to be
// waited for: nothing once the rounds are done. hidden says that somebody may
// hold messages whom the broker does not count.
func (e *evidence) observe(q Queues, hidden bool, now time.Time, all []inbox.InstanceStatus, settings Ledger, at time.Time) (waiting []string) {
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
	if now.Equal(e.empty) { // the same look: hands come after
		return []string{"a second look at the queues"}
	}
	e.done++
	e.empty = time.Time{}
	if e.done < rounds || at.Sub(e.began) < q.UnackedLag {
		return []string{"a second look at the queues"}
	}
	return nil
}

// blind names what cannot be seen: queues that are missing, and holders that
// say nothing of what they hold.
func blind(q Queues, hidden bool, live []inbox.InstanceStatus, settings Ledger) (reasons []string) {
	if len(q.Missing) > 0 {
		reasons = append(reasons, fmt.Sprintf("queues do not exist (%s): what other retry or dead-letter queues hold cannot be seen; see --retry-delays", strings.Join(q.Missing, ", ")))
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
		reasons = append(reasons, fmt.Sprintf("%s of %s consumers or tools at its queues do not say what they hold unacknowledged", Thousands(silent), Thousands(q.Holders)))
	case hidden:
		reasons = append(reasons, "its queues are classic, or do not tell their type to this user: a tool that holds messages of theirs cannot be seen over AMQP; see --management-url and --assume-not-held")
	}
	return reasons
}

// reportDelay bounds how long before its time in the database a consumer drew
// up its report, and how long a message is on the wire to it.
const reportDelay = 1500 * time.Millisecond

// held names the consumers whose hands may hold something from before a
// moment: that they have said nothing since, or that they hold it. The zero
// time stands for now.
func held(live []inbox.InstanceStatus, since time.Time) (reasons []string) {
	for _, i := range live {
		bound := since.Add(reportDelay)
		switch {
		case i.Held > 0 && (since.IsZero() || !i.OldestHeld.After(bound)):
			reasons = append(reasons, fmt.Sprintf("consumer %s holds %s, the oldest for %s", i.Name, Thousands(i.Held),
				i.SeenAt.Sub(i.OldestHeld).Round(time.Second)))
		case !since.IsZero() && !i.SeenAt.After(bound):
			reasons = append(reasons, fmt.Sprintf("consumer %s to say what it holds", i.Name))
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
