package reconcile

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of difference. One event may have several kinds.
type Kind string

// The kinds. Each is reported only when the message of the event can no longer
// be held by anyone.
const (
	// Lost: published, or ordered without an outbox row, and neither applied,
	// queued nor dead-lettered.
	Lost Kind = "lost"
	// Duplicated: it has more effects than it should, see
	// Comparison.EffectsPerEvent.
	Duplicated Kind = "duplicated"
	// Conflicting: applied with another body than the outbox has. The message
	// published under this id is not applied: the inbox takes it for a
	// conflict.
	Conflicting Kind = "conflicting"
	// Foreign: applied, and neither in the outbox nor ordered.
	Foreign Kind = "foreign"
	// OrderGone: acknowledged to a client, but neither order nor outbox row
	// exists.
	OrderGone Kind = "orderGone"
	// EffectWithoutOrder: its effect exists, but its order does not.
	EffectWithoutOrder Kind = "effectWithoutOrder"
	// OrderWithoutEffect: ordered and published, not held by anyone, and the
	// effect does not exist. Those that were not applied are lost as well.
	OrderWithoutEffect Kind = "orderWithoutEffect"
	// OrderWithoutEvent: ordered, without an outbox row, and never applied.
	OrderWithoutEvent Kind = "orderWithoutEvent"
	// EventWithoutOrder: in the outbox, but its order does not exist.
	EventWithoutOrder Kind = "eventWithoutOrder"
	// AppliedWithoutEffect: in the inbox, but the effect or a part of it does
	// not exist.
	AppliedWithoutEffect Kind = "appliedWithoutEffect"
	// EffectWithoutInbox: its effect exists, but the inbox has no row: another
	// copy would be applied again.
	EffectWithoutInbox Kind = "effectWithoutInbox"
)

// description is a kind, its words in the verdict, and its meaning for an
// event.
type description struct {
	kind           Kind
	words, meaning string
}

// kinds lists all kinds in the order of the report.
var kinds = []description{
	{Lost, "lost", "published, but neither applied, queued nor dead-lettered"},
	{Duplicated, "duplicated", "more effects than it should have"},
	{OrderGone, "orders gone", "acknowledged, but neither order nor outbox row exists"},
	{EffectWithoutOrder, "effects without order", "its effect exists, its order does not"},
	{OrderWithoutEffect, "orders without effect", "its order exists, its effect does not"},
	{OrderWithoutEvent, "orders without event", "ordered, without an outbox row, and never applied"},
	{EventWithoutOrder, "events without order", "in the outbox, but its order does not exist"},
	{AppliedWithoutEffect, "effects missing", "in the inbox, but its effect does not exist"},
	{EffectWithoutInbox, "effects without inbox row", "its effect exists, but the inbox has no row"},
	{Conflicting, "conflicting", "applied with another body than the outbox has"},
	{Foreign, "foreign", "applied, but not in the outbox"},
}

// Kinds returns every kind in the order of a report.
func Kinds() []Kind {
	names := make([]Kind, len(kinds))
	for i, k := range kinds {
		names[i] = k.kind
	}
	return names
}

// Finding holds the events of one kind.
type Finding struct {
	Kind Kind
	// Surplus counts effects beyond the expected ones; only for Duplicated.
	Surplus int
	ids     spool
}

// Meaning says what is wrong with each of the events.
func (f *Finding) Meaning() string { return f.described().meaning }

// Words returns the words for the kind in a verdict.
func (f *Finding) Words() string { return f.described().words }

func (f *Finding) described() (d description) {
	for _, k := range kinds {
		if k.kind == f.Kind {
			d = k
		}
	}
	return d
}

// Count returns the number of events.
func (f *Finding) Count() int { return f.ids.n }

// IDs yields the ids of the events. An error ends the sequence.
func (f *Finding) IDs() iter.Seq2[string, error] { return f.ids.all() }

// First returns at most n of the ids.
func (f *Finding) First(n int) []string { return f.ids.head[:min(n, len(f.ids.head))] }

// TopicCounts holds the counts of one topic.
type TopicCounts struct {
	Topic    string
	Compared bool // false: only counted
	Outbox   int  // rows up to the cut
	// Outbox rows by status. Pending includes retrying and delayed ones.
	Published, Pending, Dead, Discarded int
	Newer                               int // rows enqueued after the cut, which are not compared
	Applied                             int // by the consumer
	Lost                                int
}

// Report is the result of comparing one consumer's topics. Its counts are of
// events, unless stated otherwise.
type Report struct {
	Orders               int // rows of the orders' table; 0 if none is compared
	Outbox               int // rows up to the cut, of any status
	Published            int
	Pending              int // retrying included
	Dead                 int
	Discarded            int
	InFlight             int // messages queued or waiting for a retry
	Held                 int // messages that consumers report as held
	Applied              int
	Effects              int // rows of the effects' table
	DeadLettered         int // messages in the dead-letter queue
	UnappliedDeadLetters int // events that are dead letters and not applied, as far as that had to be checked
	Delayed              int // pending rows that are not due yet
	Newer                int // rows enqueued after the cut
	Old                  int // events older than the retention, which are not compared
	Compared             int // events with a result

	CutAt  time.Time     // by the clock of the outbox's database; rows enqueued later were not compared
	Topics []TopicCounts // sorted by name
	// Waiting says why the comparison is not settled; empty: it is.
	Waiting []string
	// Missing counts the events that are neither applied nor found elsewhere
	// while the comparison is not settled.
	Missing int
	// Notes are limits of the comparison.
	Notes []string

	findings map[Kind]*Finding
}

// Findings returns the differences, in a fixed order.
func (r *Report) Findings() (all []*Finding) {
	for _, k := range kinds {
		if f := r.findings[k.kind]; f != nil {
			all = append(all, f)
		}
	}
	return all
}

// Count returns the number of events of a kind.
func (r *Report) Count(k Kind) int {
	if f := r.findings[k]; f != nil {
		return f.Count()
	}
	return 0
}

// Duplicated returns the number of surplus effects.
func (r *Report) Duplicated() int {
	if f := r.findings[Duplicated]; f != nil {
		return f.Surplus
	}
	return 0
}

// OK reports whether there are no findings.
func (r *Report) OK() bool { return len(r.findings) == 0 }

// Settled reports whether the result is final.
func (r *Report) Settled() bool { return len(r.Waiting) == 0 }

// Verdict returns "ok", "not settled", or the words of the findings.
func (r *Report) Verdict() string {
	var words []string
	for _, k := range kinds {
		switch {
		case r.findings[k.kind] == nil:
		case k.kind == OrderWithoutEffect && r.Count(Lost)+r.Count(AppliedWithoutEffect) >= r.Count(k.kind):
			// Covered by Lost.
		case k.kind == OrderWithoutEvent && r.Count(Lost) >= r.Count(k.kind):
		default:
			words = append(words, k.words)
		}
	}
	switch last := len(words) - 1; {
	case last < 0 && !r.Settled():
		return "not settled"
	case last < 0:
		return "ok"
	case last == 0:
		return words[0]
	default:
		return strings.Join(words[:last], ", ") + " and " + words[last]
	}
}

// find records a finding.
func (r *Report) find(k Kind, id string) error {
	if r.findings == nil {
		r.findings = make(map[Kind]*Finding)
	}
	f := r.findings[k]
	if f == nil {
		f = &Finding{Kind: k}
		r.findings[k] = f
	}
	return f.ids.add(id)
}

// topic returns the counts of a topic.
func (r *Report) topic(name string) *TopicCounts {
	i, found := slices.BinarySearchFunc(r.Topics, name, func(t TopicCounts, name string) int { return strings.Compare(t.Topic, name) })
	if !found {
		r.Topics = slices.Insert(r.Topics, i, TopicCounts{Topic: name})
	}
	return &r.Topics[i]
}

// Close removes the files of the report.
func (r *Report) Close() error {
	var errs []error
	for _, f := range r.findings {
		errs = append(errs, f.ids.close())
	}
	return errors.Join(errs...)
}
