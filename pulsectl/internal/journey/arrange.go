package journey

import (
	"cmp"
	"slices"
	"time"
)

// arrange puts the messages in the order of a tree, by what has caused what.
func (f *finder) arrange() {
	children := make(map[string][]*Message)
	var roots []*Message
	for _, m := range f.found {
		if !m.Asked && m.Outbox == nil && len(m.Inbox)+len(m.Copies) == 0 {
			continue // a cause that nobody here knows
		}
		if cause := f.byID[m.CausationID]; cause != nil && cause != m && (cause.Asked || cause.Outbox != nil || len(cause.Inbox)+len(cause.Copies) > 0) {
			children[cause.ID] = append(children[cause.ID], m)
		} else {
			roots = append(roots, m)
		}
	}
	visited := make(map[*Message]bool)
	var visit func(m *Message, depth int)
	visit = func(m *Message, depth int) {
		if visited[m] {
			return
		}
		visited[m] = true
		m.Depth = depth
		f.journey.Messages = append(f.journey.Messages, *m)
		for _, child := range inOrder(children[m.ID]) {
			visit(child, depth+1)
		}
	}
	for _, m := range inOrder(roots) {
		visit(m, 0)
	}
	for _, list := range children { // causes in a circle
		for _, m := range inOrder(list) {
			visit(m, 0)
		}
	}
}

// inOrder sorts messages by the time they were enqueued, as far as it is known.
func inOrder(list []*Message) []*Message {
	slices.SortStableFunc(list, func(a, b *Message) int {
		return cmp.Or(a.begun().Compare(b.begun()), cmp.Compare(a.seq(), b.seq()))
	})
	return list
}

func (m *Message) begun() time.Time {
	if m.Outbox == nil {
		return time.Time{}
	}
	return m.Outbox.CreatedAt
}

func (m *Message) seq() int64 {
	if m.Outbox == nil {
		return 0
	}
	return m.Outbox.Seq
}

// sum says whether the answer is complete.
func (f *finder) sum() {
	for _, m := range f.journey.Messages {
		if !m.Asked || m.Verdict.State == Applied || m.Verdict.State == Discarded {
			continue
		}
		if m.Outbox == nil && f.OutboxErr != nil {
			f.journey.Incomplete = f.OutboxErr
		}
		if m.Verdict.State == Published || m.Verdict.State == Unknown || m.Outbox == nil {
			f.journey.Incomplete = cmp.Or(f.journey.Incomplete, f.inboxErr, f.queuesErr)
		}
	}
}

// away notes what was given and did not answer.
func (f *finder) away() {
	for _, err := range []error{f.OutboxErr, f.inboxErr, f.queuesErr} {
		if err != nil {
			f.journey.away = append(f.journey.away, err)
		}
	}
}
