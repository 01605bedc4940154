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

// ErrStatus says that a message is in a state that does not allow the move;
// docs/states.md draws those there are.
var ErrStatus = errors.New("its status does not allow that")

// UnchangedError names the messages that Retry or Discard could not move. The
// others have been moved. It matches ErrNotFound, ErrStatus, or both.
type UnchangedError struct {
	Missing []uuid.UUID          // the outbox has no such message
	Unfit   map[uuid.UUID]Status // where each stands instead
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

// Is makes errors.Is hold for ErrNotFound and ErrStatus.
func (e *UnchangedError) Is(target error) bool {
	return target == ErrNotFound && len(e.Missing) > 0 || target == ErrStatus && len(e.Unfit) > 0
}

func uuidOrder(a, b uuid.UUID) int { return strings.Compare(string(a[:]), string(b[:])) }

// Retry gives dead messages, and those being retried, a fresh start: pending,
// no attempts, available at once. It returns how many it moved. A pending
// message without failures has nothing to be done and is no error; a published
// or discarded one is an ErrStatus, an unknown id an ErrNotFound, both within an
// UnchangedError. What can be moved is moved all the same, in one transaction.
func (o *Outbox) Retry(ctx context.Context, ids ...uuid.UUID) (n int, err error) {
	n, err = o.move(ctx, ids, []Status{Pending, Dead}, "retry")
	if err != nil {
		return n, fmt.Errorf("outbox: retry: %w", err)
	}
	return n, nil
}

// Discard sets pending and dead messages aside for good: they are not
// published, and later messages of their key go on. The reason, which must
// not be empty, is kept before the last error. It returns how many it moved. A
// message discarded before is no error; a published one is an ErrStatus, an
// unknown id an ErrNotFound, both within an UnchangedError. What can be moved is
// moved all the same, in one transaction. A message that a relay has in hand
// at that moment may still go out.
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
