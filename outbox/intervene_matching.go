package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// matchingChunk is how many messages one transaction of RetryMatching and
// DiscardMatching changes: relays wait for it.
const matchingChunk = 500

// RetryMatching retries messages that match the filters of q, as Retry does, the
// oldest first and at most q.Limit of them; 0: all. q must choose by Statuses those
// that are Dead, or by Retrying those that are retried; Count tells how many match. It
// changes them in chunks, each a transaction with its part of the one entry in the
// audit table. progress, unless nil, is called after each with the number so far. If
// ctx ends or the error is not nil, the chunks before are done.
func (p Operator) RetryMatching(ctx context.Context, q ListQuery, progress func(n int64)) (n int64, err error) {
	if err := q.checkChoice(Dead); err != nil {
		return 0, fmt.Errorf("outbox: retry: %w", err)
	}
	n, err = p.moveMatching(ctx, q, progress, ActionRetry)
	if err != nil {
		return n, fmt.Errorf("outbox: retry: %w", err)
	}
	return n, nil
}

// DiscardMatching discards messages that match the filters of q, as Discard does; q
// must choose those that are Pending or Dead by Statuses, or the Retrying. Everything
// else is as in RetryMatching.
func (p Operator) DiscardMatching(ctx context.Context, q ListQuery, progress func(n int64)) (n int64, err error) {
	if err := q.checkChoice(Pending, Dead); err != nil {
		return 0, fmt.Errorf("outbox: discard: %w", err)
	}
	n, err = p.moveMatching(ctx, q, progress, ActionDiscard, p.reason)
	if err != nil {
		return n, fmt.Errorf("outbox: discard: %w", err)
	}
	return n, nil
}

// checkChoice makes sure that q chooses messages by states that an action may change.
func (q ListQuery) checkChoice(allowed ...Status) error {
	if q.Limit < 0 {
		return fmt.Errorf("bad query: Limit: %d; must not be negative", q.Limit)
	}
	if q.Retrying && len(q.Statuses) == 0 {
		return nil
	}
	if q.Retrying || len(q.Statuses) == 0 || slices.ContainsFunc(q.Statuses, func(s Status) bool { return !slices.Contains(allowed, s) }) {
		return fmt.Errorf("bad query: Statuses: %v; must be some of %v, or Retrying without them", q.Statuses, allowed)
	}
	return nil
}

func (p Operator) moveMatching(ctx context.Context, q ListQuery, progress func(n int64), action string, args ...any) (n int64, err error) {
	if err := p.check(action); err != nil {
		return 0, err
	}
	entry, most := p.entry(action, q.filter()), q.Limit
	q.After, q.OldestFirst, q.WithoutPayload, q.Limit = 0, true, true, matchingChunk
	for {
		page, err := p.outbox.List(ctx, q)
		if err != nil {
			return n, errors.Unwrap(err)
		}
		var ids []uuid.UUID
		for _, r := range page.Records {
			ids = append(ids, r.ID)
		}
		last := page.Next == 0
		if left := most - int(n); most > 0 && left <= len(ids) {
			ids, last = ids[:left], true
		}
		changed, err := p.moveChunk(ctx, q, ids, entry, args...)
		if err != nil {
			return n, err
		}
		if n += int64(changed); progress != nil {
			progress(n)
		}
		if last {
			return n, nil
		}
		q.After = page.Next
	}
}

// moveChunk moves those of a page that still stand where q chose them.
func (p Operator) moveChunk(ctx context.Context, q ListQuery, ids []uuid.UUID, entry *Recorded, args ...any) (n int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	err = p.outbox.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		states, err := lock(ctx, tx, jsonText(ids))
		if err != nil {
			return err
		}
		still := slices.DeleteFunc(ids, func(id uuid.UUID) bool {
			if q.Retrying {
				return states[id] != Pending
			}
			return !slices.Contains(q.Statuses, states[id])
		})
		n, err = p.moveLocked(ctx, tx, still, entry, args...)
		return err
	})
	if err != nil {
		return 0, sqldb.Explain(err)
	}
	return n, nil
}

// filter describes the filters of q for the audit table, by the names that pulsectl
// has for them.
func (q ListQuery) filter() map[string]string {
	filter := make(map[string]string)
	add := func(name, value string) {
		if value != "" {
			filter[name] = value
		}
	}
	var statuses []string
	for _, s := range q.Statuses {
		statuses = append(statuses, string(s))
	}
	if q.Retrying {
		statuses = append(statuses, "retrying")
	}
	add("status", strings.Join(statuses, ","))
	add("topic", q.Topic)
	add("type", q.Type)
	add("key", q.Key)
	add("correlation-id", q.CorrelationID)
	add("error", q.ErrorContains)
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			add(name, at.UTC().Format(time.RFC3339))
		}
	}
	if q.Limit > 0 {
		add("limit", strconv.Itoa(q.Limit))
	}
	return filter
}
