package reconcile

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"time"
)

// Kind names what is wrong with an event. One event may be of several kinds.
type Kind string

// The kinds. Each is a statement about the books of both sides, made only when
// the message is in nobody's hands any more.
const (
	// Lost: published, or ordered without an outbox row, and neither applied,
	// queued nor set aside.
	Lost Kind = "lost"
	// Duplicated: it has more effects than it should, see
	// Ledger.EffectsPerEvent.
	Duplicated Kind = "duplicated"
	// Conflicting: applied with another body than the outbox has. What was
	// published under this id is not applied: the inbox takes it for a conflict.
	Conflicting Kind = "conflicting"
	// Foreign: applied, and neither in the outbox nor ordered.
	Foreign Kind = "foreign"
	// OrderGone: acknowledged to a client, and neither order nor outbox row is
	// there.
	OrderGone Kind = "orderGone"
	// EffectWithoutOrder: it has had its effect, and its order is not there.
	EffectWithoutOrder Kind = "effectWithoutOrder"
	// OrderWithoutEffect: ordered, published and in nobody's hands, and the
	// effect is not there. What of these was not applied is lost as well.
	OrderWithoutEffect Kind = "orderWithoutEffect"
	// OrderWithoutEvent: ordered, without an outbox row, and never applied.
	OrderWithoutEvent Kind = "orderWithoutEvent"
	// EventWithoutOrder: in the outbox, and its order is not there.
	EventWithoutOrder Kind = "eventWithoutOrder"
	// AppliedWithoutEffect: in the inbox, and the effect is not there, or not
	// all of it.
	AppliedWithoutEffect Kind = "appliedWithoutEffect"
	// EffectWithoutInbox: it has an effect that the inbox does not know of: a
	// further copy would be applied again.
	EffectWithoutInbox Kind = "effectWithoutInbox"
)

// description is a kind, its words in the verdict, and what it says of an event.
type description struct {
	kind           Kind
	words, meaning string
}

// kinds in the order they are shown.
var kinds = []description{
	{Lost, "lost", "published, and neither applied, queued nor set aside"},
	{Duplicated, "duplicated", "more effects than it should have"},
	{OrderGone, "orders gone", "acknowledged, and neither order nor outbox row is there"},
	{EffectWithoutOrder, "effects without order", "its effect is there, its order is gone"},
	{OrderWithoutEffect, "orders without effect", "its order is there, its effect is not"},
	{OrderWithoutEvent, "orders without event", "ordered, without an outbox row, and never applied"},
	{EventWithoutOrder, "events without order", "in the outbox, its order is gone"},
	{AppliedWithoutEffect, "effects missing", "in the inbox, its effect is gone"},
	{EffectWithoutInbox, "effects without inbox row", "its effect is there, the inbox does not know it"},
	{Conflicting, "conflicting", "applied with another body than the outbox has"},
	{Foreign, "foreign", "applied, and in no outbox row"},
}

// Kinds returns every kind in the order of a report.
func Kinds() []Kind {
	names := make([]Kind, len(kinds))
	for i, k := range kinds {
		names[i] = k.kind
	}
	return names
}

// Finding is the events of one kind.
type Finding struct {
	Kind Kind
	// Surplus counts effects beyond those it should have; of Duplicated alone.
	Surplus int
	ids     spool
}

// Meaning says what is the matter with each of its events.
func (f *Finding) Meaning() string { return f.described().meaning }

// Words name the kind as a verdict does.
func (f *Finding) Words() string { return f.described().words }

func (f *Finding) described() (d description) {
	for _, k := range kinds {
		if k.kind == f.Kind {
			d = k
		}
	}
	return d
}

// Count is the number of its events.
func (f *Finding) Count() int { return f.ids.n }

// IDs yields their ids. An error ends it.
func (f *Finding) IDs() iter.Seq2[string, error] { return f.ids.all() }

// First returns at most n of their ids.
func (f *Finding) First(n int) []string { return f.ids.head[:min(n, len(f.ids.head))] }

// TopicCounts is how the events of one topic stand.
type TopicCounts struct {
	Topic    string
	Compared bool // false: only counted
	Outbox   int  // rows up to the cut
	// The outbox rows by status. Pending includes what is retried or delayed.
	Published, Pending, Dead, Discarded int
	Newer                               int // rows enqueued after the cut, which nothing is said of
	Applied                             int // by the consumer
	Lost                                int
}

// Report is the reconciliation of one consumer's topics. Its counts are of
// events, unless said.
type Report struct {
	Orders       int // rows of the orders' table; 0 where there is none to compare
	Outbox       int // rows up to the cut, of any status
	Published    int
	Pending      int // retrying included
	Dead         int
	Discarded    int
	InFlight     int // messages queued or waiting for a retry
	Held         int // messages that consumers say they have in hand
	Applied      int
	Effects      int // rows of the effects' table
	DeadLettered int // messages in the dead-letter queue
	SetAside     int // events that are there and not applied: counted where it was needed to know
	Delayed      int // pending rows that are not due yet
	Newer        int // rows enqueued after the cut
	Old          int // events too old to be judged: what the inbox or the outbox may have forgotten
	Compared     int // events that something was said of

	CutAt  time.Time     // of the database with the outbox; what was enqueued later was not compared
	Topics []TopicCounts // sorted by name
	// Waiting is what kept the comparison from being settled; empty: it is.
	Waiting []string
	// Missing is how many events are neither applied nor known to be anywhere
	// else while it is not settled.
	Missing int
	// Notes are limits of what was compared.
	Notes []string

	findings map[Kind]*Finding
}

// Findings returns what is wrong, in a fixed order.
func (r *Report) Findings() (all []*Finding) {
	for _, k := range kinds {
		if f := r.findings[k.kind]; f != nil {
			all = append(all, f)
		}
	}
	return all
}

// Count is the number of events of a kind.
func (r *Report) Count(k Kind) int {
	if f := r.findings[k]; f != nil {
		return f.Count()
	}
	return 0
}

// Duplicated is the number of surplus effects.
func (r *Report) Duplicated() int {
	if f := r.findings[Duplicated]; f != nil {
		return f.Surplus
	}
	return 0
}

// OK reports whether nothing is wrong with what was compared.
func (r *Report) OK() bool { return len(r.findings) == 0 }

// Settled reports whether the last word is spoken about what was compared.
func (r *Report) Settled() bool { return len(r.Waiting) == 0 }

// Verdict is "ok", "not settled", or names what is wrong.
func (r *Report) Verdict() string {
	var words []string
	for _, k := range kinds {
		switch {
		case r.findings[k.kind] == nil:
		case k.kind == OrderWithoutEffect && r.Count(Lost)+r.Count(AppliedWithoutEffect) >= r.Count(k.kind):
			// Said already.
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

// find notes an event.
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

// Close frees what the report keeps on disk.
func (r *Report) Close() error {
	var errs []error
	for _, f := range r.findings {
		errs = append(errs, f.ids.close())
	}
	return errors.Join(errs...)
}
