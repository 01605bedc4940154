package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// compare merges both sides and the client's list in the order of the ids,
// reports what is certain at once, and collects in v.missing the events that
// are not applied and may still be somewhere.
//
// The producer's side is read first and the consumer's side after it. So an
// event that only the consumer's side has may have been committed in between:
// it is looked up once more. One that only the producer's side has may be on
// its way: see settle.
func (v *verification) compare(ctx context.Context) (err error) {
	committed, err := v.openCommitted(ctx, v.cut)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	defer committed.close()
	applied, err := v.openApplied(ctx)
	if err != nil {
		return fmt.Errorf("read the inbox: %w", err)
	}
	defer applied.close()
	acknowledged, stop, err := v.acknowledged(ctx)
	if err != nil {
		return err
	}
	defer stop()

	listed, isListed, err := acknowledged()
	for err == nil && (committed.ok || applied.ok || isListed) {
		id := least(committed.ok, committed.item.id, applied.ok, applied.item.id, isListed, listed)
		e := event{id: id}
		if committed.ok && committed.item.id == id {
			e.committed = &committed.item
		}
		if applied.ok && applied.item.id == id {
			e.applied = &applied.item
		}
		e.listed = isListed && listed == id
		if err = v.judge(ctx, e); err != nil {
			break
		}
		if e.committed != nil {
			committed.next()
		}
		if e.applied != nil {
			applied.next()
		}
		if e.listed {
			listed, isListed, err = acknowledged()
		}
		v.looked.Add(1)
	}
	if err != nil {
		return err
	}
	if committed.err != nil {
		return fmt.Errorf("read the outbox: %w", committed.err)
	}
	if applied.err != nil {
		return fmt.Errorf("read the inbox: %w", applied.err)
	}
	return errors.Join(v.lookUpUnmatched(ctx), v.lookUpBodies(ctx))
}

// acknowledged returns the client's list, sorted, as a function that returns
// one id after the other.
func (v *verification) acknowledged(ctx context.Context) (next func() (string, bool, error), stop func(), err error) {
	if v.Acknowledged == nil {
		return func() (string, bool, error) { return "", false, nil }, func() {}, nil
	}
	sorted, err := sortUnique(ctx, v.Acknowledged)
	if err != nil {
		return nil, nil, err
	}
	pull, end := iter.Pull2(sorted.all())
	next = func() (string, bool, error) {
		id, err, ok := pull()
		return id, ok, err
	}
	stop = func() {
		end()
		_ = sorted.close()
	}
	return next, stop, nil
}

// event is what both sides and the client know about one id.
type event struct {
	id        string
	committed *committed // nil: nothing
	applied   *applied   // nil: nothing
	listed    bool       // acknowledged to the client
}

func (e event) inOutbox() bool { return e.committed != nil && e.committed.status != "" }
func (e event) ordered() bool  { return e.committed != nil && e.committed.orders > 0 }
func (e event) inInbox() bool  { return e.applied != nil && e.applied.inInbox }
func (e event) effects() int {
	if e.applied == nil {
		return 0
	}
	return e.applied.effects
}

// handled reports whether the event has been applied, as far as is known.
func (e event) handled() bool { return e.inInbox() || e.effects() > 0 }

// age returns when the event was published. If the outbox does not have it, it
// is the earliest time known from elsewhere, at last from the id; zero:
// unknown.
func (e event) age() (at time.Time) {
	if e.inOutbox() {
		return e.committed.at
	}
	var times []time.Time
	if e.committed != nil {
		times = append(times, e.committed.ordered)
	}
	if e.applied != nil {
		times = append(times, e.applied.at, e.applied.effected)
	}
	for _, t := range times {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if at.IsZero() {
		at = timeOfID(e.id)
	}
	return at
}

// since reports whether the event is not older than bound. An event of unknown
// age may not have been purged.
func (e event) since(bound time.Time) bool {
	at := e.age()
	return at.IsZero() || !at.Before(bound)
}

// judge reports what does not depend on where an event's message is, and
// collects the rest for later.
func (v *verification) judge(ctx context.Context, e event) error {
	switch {
	case e.inOutbox() && e.committed.newer:
		v.report.Newer++
		v.report.topic(e.committed.topic).Newer++
		return nil
	case e.committed == nil && !e.listed && !v.concerns(e):
		return nil // its topic is not compared
	case e.committed == nil && !e.listed && !v.tells(e):
		v.count(e)
		v.report.Old++
		return v.judgeEffect(e)
	case !e.inOutbox() && (!e.ordered() || !e.handled() && e.since(v.remembered)):
		return v.collectUnmatched(ctx, e)
	}
	v.count(e)
	v.report.Compared++
	return errors.Join(v.judgeOrder(e), v.judgeEffect(e), v.judgeBody(ctx, e), v.judgeWhereabouts(e))
}

// tells reports whether it is a finding that the producer's side lacks an
// event: it may have purged an old one.
func (v *verification) tells(e event) bool {
	if v.Orders != nil {
		return e.since(v.remembered)
	}
	return v.keepsPublished && e.since(v.kept)
}

// concerns reports whether an event that only the consumer's side has belongs
// to the compared topics, as far as is known.
func (v *verification) concerns(e event) bool {
	if !e.inInbox() {
		return e.effects() > 0
	}
	return e.applied.topic == "" || v.compares(e.applied.topic)
}

func (v *verification) count(e event) {
	r, topic := v.report, v.report.topic(v.topicOf(e))
	if e.committed != nil {
		r.Orders += e.committed.orders
	}
	if e.inOutbox() {
		r.Outbox++
		topic.Outbox++
		switch e.committed.status {
		case outbox.Pending:
			r.Pending++
			topic.Pending++
		case outbox.Published:
			r.Published++
			topic.Published++
		case outbox.Dead:
			r.Dead++
			topic.Dead++
		case outbox.Discarded:
			r.Discarded++
			topic.Discarded++
		}
	}
	if e.inInbox() {
		r.Applied++
		topic.Applied++
	}
	r.Effects += e.effects()
}

// topicOf returns the topic of an event; if only the orders or the effects have
// it, the one that is compared.
func (v *verification) topicOf(e event) string {
	switch {
	case e.inOutbox():
		return e.committed.topic
	case e.inInbox() && e.applied.topic != "":
		return e.applied.topic
	}
	return v.Topics[0]
}

// judgeOrder compares the outbox with the orders. With several topics it is
// unknown which of them have an order.
func (v *verification) judgeOrder(e event) error {
	if v.Orders == nil || len(v.Topics) > 1 || e.ordered() || !e.since(v.remembered) {
		return nil
	}
	err := v.report.find(EventWithoutOrder, e.id)
	if e.effects() > 0 || v.Effects == nil && e.inInbox() {
		err = errors.Join(err, v.report.find(EffectWithoutOrder, e.id))
	}
	return err
}

// judgeEffect compares the inbox with the effects. Both are written in one
// transaction, so one without the other is a finding.
func (v *verification) judgeEffect(e event) (err error) {
	if v.Effects == nil {
		return nil
	}
	if n := e.effects(); v.EffectsPerEvent > 0 && n > v.EffectsPerEvent {
		err = v.report.find(Duplicated, e.id)
		v.report.findings[Duplicated].Surplus += n - v.EffectsPerEvent
	}
	switch {
	case e.inInbox() && e.effects() < max(1, v.EffectsPerEvent):
		err = errors.Join(err, v.report.find(AppliedWithoutEffect, e.id))
		if e.ordered() {
			err = errors.Join(err, v.report.find(OrderWithoutEffect, e.id))
		}
	case !e.inInbox() && e.effects() > 0 && e.committed != nil && e.since(v.remembered):
		err = errors.Join(err, v.report.find(EffectWithoutInbox, e.id))
	}
	return err
}

// judgeWhereabouts collects an event that was published and not applied: its
// message may be on its way.
func (v *verification) judgeWhereabouts(e event) error {
	switch {
	case e.handled():
		return nil
	case e.inOutbox() && e.committed.status != outbox.Published:
		return nil // still to be published, dead or discarded: counted already
	case !e.since(v.remembered):
		v.report.Compared--
		v.report.Old++
		return nil
	}
	return v.miss(candidate{id: e.id, topic: e.committed.topic, ordered: e.ordered(), inOutbox: true})
}

// least returns the smallest of the texts that exist.
func least(aThere bool, a string, bThere bool, b string, cThere bool, c string) string {
	smallest, found := "", false
	for _, t := range []struct {
		there bool
		text  string
	}{{aThere, a}, {bThere, b}, {cThere, c}} {
		if t.there && (!found || t.text < smallest) {
			smallest, found = t.text, true
		}
	}
	return smallest
}
