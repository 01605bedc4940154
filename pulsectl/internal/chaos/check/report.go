package check

// Kind is a kind of finding.
type Kind string

// The kinds.
const (
	AnsweredAbsent Kind = "answeredButAbsent"
	RefusedPresent Kind = "refusedButPresent"
	NoEvent        Kind = "withoutEvent"
	NeverPublished Kind = "neverPublished"
	Lost           Kind = "lost"
	Duplicated     Kind = "duplicated"
	ReplayApplied  Kind = "replayApplied"
	Ghost          Kind = "ghost"
	HalfApplied    Kind = "halfApplied"
	OutOfOrder     Kind = "outOfOrder"
	BeforeCause    Kind = "beforeCause"
	WrongCause     Kind = "wrongCause"
	Altered        Kind = "altered"
)

// meanings lists all kinds, in the order of a report, with what each says of an
// order or an event.
var meanings = []struct {
	kind    Kind
	meaning string
}{
	{AnsweredAbsent, "a client was told that the order is accepted, and it does not exist"},
	{RefusedPresent, "a client was told that the order is refused, and it exists"},
	{NoEvent, "an order or an effect is committed without its event in the outbox"},
	{NeverPublished, "the outbox says that the event is published, and the broker never had it"},
	{Lost, "the event is published, and neither applied nor a dead letter"},
	{Duplicated, "the order, the event or its effect exists more than once"},
	{ReplayApplied, "the event was published again on purpose, and has taken effect again"},
	{Ghost, "the event exists without the order or the effect that it tells of"},
	{HalfApplied, "the event is in the inbox without its effect, or has its effect without being there"},
	{OutOfOrder, "the event was first published after a later one of its key"},
	{BeforeCause, "the event was first published before the event that caused it"},
	{WrongCause, "the message names another cause than the event that it was made for"},
	{Altered, "the message that was published or applied differs from the row of the outbox"},
}

// Kinds returns every kind, in the order of a report.
func Kinds() []Kind {
	kinds := make([]Kind, len(meanings))
	for i, m := range meanings {
		kinds[i] = m.kind
	}
	return kinds
}

// Meaning says what the kind says of an order or an event.
func (k Kind) Meaning() string {
	for _, m := range meanings {
		if m.kind == k {
			return m.meaning
		}
	}
	return ""
}

// Finding is a kind of violation with all orders or events that show it, each
// once, in the order in which they were found.
type Finding struct {
	Kind Kind     `json:"kind"`
	IDs  []string `json:"ids"`
}

// Verdict is the result of judging a history.
type Verdict string

// The verdicts.
const (
	// Clean: every promise was kept.
	Clean Verdict = "clean"
	// Violated: there are findings.
	Violated Verdict = "violated"
	// Unsettled: there are no findings, and messages are still on their way.
	Unsettled Verdict = "unsettled"
	// Unproven: nothing went wrong because nothing happened.
	Unproven Verdict = "unproven"
)

// Report is what a history comes to.
type Report struct {
	Accepted, Refused, Unknown int // answers
	Orders                     int
	FollowUps                  int // that effects name
	Rows                       int // of outboxes
	Published, Pending, Dead   int // rows
	OrdersPublished            int // orders whose event's row is published
	Publications               int // copies that the broker had
	Copies                     int // of these, beyond the first of each event
	Applied                    int // events of orders that have an effect
	Effects                    int
	DeadLettered               int // events that are dead letters and not applied
	Replayed                   int
	Restored                   int // events that deleted queues held, published again
	Queued                     int
	Open                       int // events of orders whose fate is not decided

	Findings []Finding // in the order of Kinds
}

// Verdict returns the verdict.
func (r *Report) Verdict() Verdict {
	switch {
	case len(r.Findings) > 0:
		return Violated
	case r.Pending > 0 || r.Queued > 0 || r.Open > 0:
		return Unsettled
	case r.Orders == 0 || r.Accepted == 0:
		return Unproven
	}
	return Clean
}

// Count returns how many orders or events show any of these kinds.
func (r *Report) Count(kinds ...Kind) (n int) {
	for _, f := range r.Findings {
		for _, k := range kinds {
			if f.Kind == k {
				n += len(f.IDs)
			}
		}
	}
	return n
}
