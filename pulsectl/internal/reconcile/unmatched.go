package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// lookUpSize is how many ids one statement looks up.
const lookUpSize = 500

// collectUnmatched collects an event that one side has and the outbox, as read, does not:
// it may belong to another topic or be newer than that snapshot.
func (v *verification) collectUnmatched(ctx context.Context, e event) error {
	// The cursors overwrite what they hold with their next step.
	if e.committed != nil {
		c := *e.committed
		e.committed = &c
	}
	if e.applied != nil {
		a := *e.applied
		e.applied = &a
	}
	v.unmatched = append(v.unmatched, e)
	if len(v.unmatched) < lookUpSize {
		return nil
	}
	return v.lookUpUnmatched(ctx)
}

// lookUpUnmatched judges the collected events by a new query.
func (v *verification) lookUpUnmatched(ctx context.Context) error {
	if len(v.unmatched) == 0 {
		return nil
	}
	ids := make([]string, len(v.unmatched))
	for i, e := range v.unmatched {
		ids[i] = e.id
	}
	inOutbox, err := find(ctx, v.OutboxDB, v.outboxColumn(), ids)
	if err != nil {
		return fmt.Errorf("look up events in the outbox: %w", err)
	}
	ordered := map[string]bool{}
	if v.Orders != nil {
		if ordered, err = find(ctx, v.OutboxDB, *v.Orders, ids); err != nil {
			return fmt.Errorf("look up orders: %w", err)
		}
	}
	orderIDs := map[string]bool{}
	if v.Orders != nil && v.Orders.idKind != "" {
		listed := v.listed(inOutbox, ordered)
		if orderIDs, err = v.findOrderIDs(ctx, listed); err != nil {
			return fmt.Errorf("look up orders: %w", err)
		}
	}
	for _, e := range v.unmatched {
		if err := v.judgeStray(e, inOutbox[e.id], ordered[e.id], orderIDs[e.id]); err != nil {
			return err
		}
	}
	v.unmatched = v.unmatched[:0]
	return nil
}

// listed returns the events from a client's list that neither side has.
func (v *verification) listed(inOutbox, ordered map[string]bool) (ids []string) {
	for _, e := range v.unmatched {
		if e.listed && !inOutbox[e.id] && !ordered[e.id] {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// judgeStray judges an event by whether it is in the outbox after all, under
// any topic, or has an order, or is an order's own id.
func (v *verification) judgeStray(e event, inOutbox, ordered, isOrderID bool) error {
	switch {
	case inOutbox || ordered && !e.ordered() || isOrderID:
		return nil // of another topic, or newer than the snapshot
	case ordered:
		return v.orphan(e)
	}
	v.count(e)
	if !v.tells(e) {
		v.report.Old++
		return v.judgeEffect(e)
	}
	v.report.Compared++
	var errs []error
	note := func(k Kind) { errs = append(errs, v.report.find(k, e.id)) }
	if e.listed {
		note(OrderGone)
	}
	if e.handled() {
		if v.Orders != nil && len(v.Topics) == 1 && (e.effects() > 0 || v.Effects == nil) {
			note(EffectWithoutOrder)
		}
		if !v.OtherProducers {
			note(Foreign)
		}
	}
	return errors.Join(append(errs, v.judgeEffect(e))...)
}

// orphan judges an order without an outbox row: purged after publishing, or
// never written. If it was not applied its message may be on its way.
func (v *verification) orphan(e event) error {
	v.count(e)
	v.report.Compared++
	if e.handled() {
		return v.judgeEffect(e)
	}
	return v.miss(candidate{id: e.id, topic: v.topicOf(e), ordered: true})
}

// outboxColumn returns the outbox's own column of ids.
func (l Comparison) outboxColumn() Column {
	return Column{Table: "outbox_messages", Name: "id", kind: "uuid"}
}

// find returns those of ids that are in a column.
func find(ctx context.Context, db *sqlx.DB, c Column, ids []string) (map[string]bool, error) {
	found := make(map[string]bool)
	if len(ids) == 0 {
		return found, nil
	}
	condition, fit := c.among(dialect(db), ids, 1)
	var there []string
	query := "SELECT CAST(" + quote(c.Name) + " AS text) FROM " + c.quoted() + " WHERE " + condition
	if err := db.SelectContext(ctx, &there, query, list(fit)); err != nil {
		return nil, sqldb.Schema(err)
	}
	for _, id := range there {
		found[id] = true
	}
	return found, nil
}

// findOrderIDs returns those of ids that are ids of orders.
func (v *verification) findOrderIDs(ctx context.Context, ids []string) (map[string]bool, error) {
	c := *v.Orders
	c.Name, c.kind = "id", c.idKind
	return find(ctx, v.OutboxDB, c, ids)
}
