package check

import "slices"

// Judge compares what a history holds. The result is the same for the same
// history.
func Judge(h *History) *Report {
	j := &judge{h: h, report: new(Report), found: make(map[Kind]*found)}
	j.read()
	j.answers()
	j.origins()
	j.ghosts()
	j.whereabouts()
	j.effects()
	j.order()
	j.causes()
	j.bodies()
	for _, kind := range Kinds() {
		if f := j.found[kind]; f != nil {
			j.report.Findings = append(j.report.Findings, Finding{kind, f.ids})
		}
	}
	return j.report
}

// judge holds a history by event.
type judge struct {
	h      *History
	report *Report
	found  map[Kind]*found

	orders    map[string]Order  // by event
	causeOf   map[string]string // the event that an effect was made for, by its follow-up
	rows      map[string]Row    // by event
	published map[string]int    // the first publication, by event
	inbox     map[string]bool
	applied   map[string]int // effects, by event
	aside     map[string]bool
	replayed  map[string]bool
}

// found holds the ids of one kind.
type found struct {
	ids  []string
	seen map[string]bool
}

func (j *judge) find(k Kind, id string) {
	f := j.found[k]
	if f == nil {
		f = &found{seen: make(map[string]bool)}
		j.found[k] = f
	}
	if !f.seen[id] {
		f.seen[id] = true
		f.ids = append(f.ids, id)
	}
}

// read sorts the history by event, and finds what exists more than once where it
// must not. Later rows of the same event are judged as well, by what is compared
// row by row.
func (j *judge) read() {
	h, r := j.h, j.report
	j.orders, j.causeOf = make(map[string]Order, len(h.Orders)), make(map[string]string, len(h.Effects))
	j.rows, j.published = make(map[string]Row, len(h.Outbox)), make(map[string]int, len(h.Outbox))
	j.applied, j.inbox = make(map[string]int, len(h.Effects)), set(h.Inbox)
	j.aside, j.replayed = set(h.DeadLetters), set(slices.Concat(h.Replayed, h.Restored))
	ids := make(map[string]bool, len(h.Orders))
	for _, o := range h.Orders {
		if _, twice := j.orders[o.Event]; twice || ids[o.ID] {
			j.find(Duplicated, o.ID)
		}
		ids[o.ID], j.orders[o.Event] = true, o
	}
	for _, e := range h.Effects {
		j.applied[e.Event]++
		if e.FollowUp == "" {
			continue
		}
		if _, twice := j.causeOf[e.FollowUp]; twice {
			j.find(Duplicated, e.FollowUp)
		}
		j.causeOf[e.FollowUp] = e.Event
	}
	for _, row := range h.Outbox {
		if _, twice := j.rows[row.Event]; twice {
			j.find(Duplicated, row.Event)
		}
		j.rows[row.Event] = row
		switch row.Status {
		case Published:
			r.Published++
		case Dead:
			r.Dead++
		default:
			r.Pending++
		}
	}
	for i, p := range h.Publications {
		if _, again := j.published[p.Event]; again {
			r.Copies++
		} else {
			j.published[p.Event] = i
		}
	}
	r.Orders, r.FollowUps, r.Rows = len(h.Orders), len(j.causeOf), len(h.Outbox)
	r.Publications, r.Effects, r.Queued = len(h.Publications), len(h.Effects), h.Queued
	r.Replayed, r.Restored = len(set(h.Replayed)), len(set(h.Restored))
}

// answers compares what clients were told with the orders.
func (j *judge) answers() {
	there := make(map[string]bool, len(j.h.Orders))
	for _, o := range j.h.Orders {
		there[o.ID] = true
	}
	for _, a := range j.h.Answers {
		switch a.Outcome {
		case Accepted:
			j.report.Accepted++
			if !there[a.Order] {
				j.find(AnsweredAbsent, a.Order)
			}
		case Refused:
			j.report.Refused++
			if there[a.Order] {
				j.find(RefusedPresent, a.Order)
			}
		default:
			j.report.Unknown++
		}
	}
}

// origins requires a row for the event of each order and effect.
func (j *judge) origins() {
	for _, o := range j.h.Orders {
		if _, there := j.rows[o.Event]; !there {
			j.find(NoEvent, o.ID)
		}
	}
	for _, e := range j.h.Effects {
		if _, there := j.rows[e.FollowUp]; e.FollowUp != "" && !there {
			j.find(NoEvent, e.Event)
		}
	}
}

// ghosts requires an origin for each event, wherever it is seen.
func (j *judge) ghosts() {
	look := func(event string) {
		_, ordered := j.orders[event]
		_, followsUp := j.causeOf[event]
		if !ordered && !followsUp {
			j.find(Ghost, event)
		}
	}
	for _, row := range j.h.Outbox {
		look(row.Event)
	}
	for _, p := range j.h.Publications {
		look(p.Event)
	}
	// Only events of orders are applied.
	applied := func(event string) {
		if _, ordered := j.orders[event]; !ordered {
			j.find(Ghost, event)
		}
	}
	for _, event := range j.h.Inbox {
		applied(event)
	}
	for _, e := range j.h.Effects {
		applied(e.Event)
	}
	for _, event := range j.h.DeadLetters {
		applied(event)
	}
}

// whereabouts requires that what is published has been there, and that the events
// of orders have come to an end. While messages are on their way, what is missing
// may be one of them.
func (j *judge) whereabouts() {
	for _, row := range j.h.Outbox {
		if _, seen := j.published[row.Event]; row.Status == Published && !seen {
			j.find(NeverPublished, row.Event)
		}
	}
	for _, o := range j.h.Orders {
		row, there := j.rows[o.Event]
		_, seen := j.published[o.Event]
		if row.Status == Published {
			j.report.OrdersPublished++
		}
		switch {
		case j.applied[o.Event] > 0:
			j.report.Applied++
		case j.aside[o.Event]:
			j.report.DeadLettered++
		case !there, row.Status == Dead:
		case row.Status != Published, j.h.Queued > 0:
			j.report.Open++
		case seen: // otherwise it is a finding already
			j.find(Lost, o.Event)
		}
	}
}

// effects requires one effect for each event, and that inbox and effects agree.
func (j *judge) effects() {
	for _, e := range j.h.Effects {
		if j.applied[e.Event] > 1 {
			if j.replayed[e.Event] {
				j.find(ReplayApplied, e.Event)
			} else {
				j.find(Duplicated, e.Event)
			}
		}
		if !j.inbox[e.Event] {
			j.find(HalfApplied, e.Event)
		}
	}
	seen := make(map[string]bool, len(j.h.Inbox))
	for _, event := range j.h.Inbox {
		if seen[event] {
			j.find(Duplicated, event)
		}
		seen[event] = true
		if j.applied[event] == 0 {
			j.find(HalfApplied, event)
		}
	}
}

// order requires that first publications of a key follow its orders.
func (j *judge) order() {
	last := make(map[string]int)
	for i, p := range j.h.Publications {
		o, ordered := j.orders[p.Event]
		if !ordered || o.Key == "" || j.published[p.Event] != i {
			continue
		}
		if n, any := last[o.Key]; any && o.N < n {
			j.find(OutOfOrder, p.Event)
			continue
		}
		last[o.Key] = o.N
	}
}

// causes requires that an event follows the event that caused it, and names it.
func (j *judge) causes() {
	for i, p := range j.h.Publications {
		cause, caused := j.causeOf[p.Event]
		if !caused {
			continue
		}
		if p.Cause != cause {
			j.find(WrongCause, p.Event)
		}
		if first, seen := j.published[cause]; j.published[p.Event] == i && (!seen || first > i) {
			j.find(BeforeCause, p.Event)
		}
	}
}

// bodies requires that what was published and applied is what was committed.
func (j *judge) bodies() {
	for _, p := range j.h.Publications {
		if row, there := j.rows[p.Event]; there && p.Body != row.Body {
			j.find(Altered, p.Event)
		}
	}
	for _, e := range j.h.Effects {
		if row, there := j.rows[e.Event]; there && e.Body != "" && e.Body != row.Body {
			j.find(Altered, e.Event)
		}
	}
}

func set(ids []string) map[string]bool {
	all := make(map[string]bool, len(ids))
	for id := range slices.Values(ids) {
		all[id] = true
	}
	return all
}
