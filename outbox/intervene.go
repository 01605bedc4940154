package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// ErrStatus means that a message is in a state that does not allow the transition;
// see docs/states.md.
var ErrStatus = errors.New("its status does not allow that")

// UnchangedError lists the messages that Retry or Discard did not change. The others
// were changed. It matches ErrNotFound, ErrStatus, or both.
type UnchangedError struct {
	Missing []uuid.UUID          // not in the outbox
	Unfit   map[uuid.UUID]Status // in a state that does not allow it
}

func (e *UnchangedError) Error() string {
	var parts []string
	for _, id := range e.Missing {
		parts = append(parts, fmt.Sprintf("%s: %v", id, ErrNotFound))
	}
	for _, id := range slices.SortedFunc(maps.Keys(e.Unfit), uuidOrder) {
		parts = append(parts, fmt.Sprintf("%s is %s: %v", id, e.Unfit[id], ErrStatus))
	}
	return strings.Join(parts, "; ")
}

// Is reports whether target is ErrNotFound or ErrStatus and applies.
func (e *UnchangedError) Is(target error) bool {
	return target == ErrNotFound && len(e.Missing) > 0 || target == ErrStatus && len(e.Unfit) > 0
}

func uuidOrder(a, b uuid.UUID) int { return strings.Compare(string(a[:]), string(b[:])) }

// Retry makes dead and retrying messages pending again, with no attempts and due at
// once, and returns how many it changed. For a pending message that has not failed
// it does nothing. For a published or discarded message the error matches
// ErrStatus, for an unknown id ErrNotFound; it is an UnchangedError. All other
// messages are changed nevertheless, in one transaction.
func (o *Outbox) Retry(ctx context.Context, ids ...uuid.UUID) (n int, err error) {
	n, err = o.move(ctx, ids, []Status{Pending, Dead}, "retry")
	if err != nil {
		return n, fmt.Errorf("outbox: retry: %w", err)
	}
	return n, nil
}

// Discard marks pending and dead messages discarded: they are not published, and no
// longer block later messages of their key. The reason must not be empty; it is
// stored before the last error. Discard returns how many messages it changed. For a
// discarded message it does nothing. For a published message the error matches
// ErrStatus, for an unknown id ErrNotFound; it is an UnchangedError. All other
// messages are changed nevertheless, in one transaction. A message that a relay is
// publishing at that moment may still be delivered.
func (o *Outbox) Discard(ctx context.Context, reason string, ids ...uuid.UUID) (n int, err error) {
	if strings.TrimSpace(reason) == "" {
		return 0, errors.New("outbox: discard: reason: is empty; say why, for those who look later")
	}
	n, err = o.move(ctx, ids, []Status{Pending, Dead, Discarded}, "discard", reason)
	if err != nil {
		return n, fmt.Errorf("outbox: discard: %w", err)
	}
	return n, nil
}

// move runs an UPDATE with args and ids. Rows that stand in one of the given
// states were moved or had no need to be.
func (o *Outbox) move(ctx context.Context, ids []uuid.UUID, from []Status, query string, args ...any) (n int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return 0, err
	}
	var states map[uuid.UUID]Status
	var changed int64
	err = o.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if states, err = lock(ctx, tx, string(list)); err != nil {
			return err
		}
		result, err := tx.Exec(ctx, query, append(args, string(list))...)
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, sqldb.Explain(err)
	}
	return int(changed), unchanged(ids, states, from)
}

// lock holds the buckets of ids and then their rows until tx ends, and returns
// where each row stands.
func lock(ctx context.Context, tx *sqldb.Tx, ids string) (map[uuid.UUID]Status, error) {
	if _, err := tx.Exec(ctx, "intervene_buckets", ids); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, "intervene_rows", ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[uuid.UUID]Status)
	for rows.Next() {
		var id uuid.UUID
		var status Status
		if err := rows.Scan(&id, &status); err != nil {
			return nil, err
		}
		found[id] = status
	}
	return found, rows.Err()
}

// unchanged returns an UnchangedError about the ids that do not stand in one
// of the given states, nil where all do.
func unchanged(ids []uuid.UUID, states map[uuid.UUID]Status, from []Status) error {
	e := &UnchangedError{Unfit: make(map[uuid.UUID]Status)}
	for _, id := range ids {
		status, ok := states[id]
		switch {
		case !ok && !slices.Contains(e.Missing, id):
			e.Missing = append(e.Missing, id)
		case ok && !slices.Contains(from, status):
			e.Unfit[id] = status
		}
	}
	if len(e.Missing)+len(e.Unfit) == 0 {
		return nil
	}
	return e
}
