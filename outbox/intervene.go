package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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

// Operator intervenes by hand in somebody's name. Each of its methods writes who did
// what, and why, into the table outbox_audit, in the transaction that does it; what
// changes nothing is not recorded. It is safe for concurrent use.
type Operator struct {
	outbox        *Outbox
	actor, reason string
}

// Operator returns an Operator for a person or program and a reason, which may be
// empty where a method does not demand one. An empty actor is an error of each method.
func (o *Outbox) Operator(actor, reason string) Operator {
	return Operator{outbox: o, actor: strings.TrimSpace(actor), reason: strings.TrimSpace(reason)}
}

// thisProgram is the actor of interventions for which nobody is named.
func thisProgram() string { return filepath.Base(os.Args[0]) + "@" + hostname() }

// check returns what is missing for an action.
func (p Operator) check(action string) error {
	switch {
	case p.actor == "":
		return errors.New("actor: is empty; say who does it")
	case p.reason == "" && (action == ActionDiscard || action == ActionPause):
		return errors.New("reason: is empty; say why, for those who look later")
	}
	return nil
}

// Retry makes dead and retrying messages pending again, with no attempts and due at
// once, and returns how many it changed. For a pending message that has not failed
// it does nothing. For a published or discarded message the error matches
// ErrStatus, for an unknown id ErrNotFound; it is an UnchangedError. All other
// messages are changed nevertheless, in one transaction.
func (p Operator) Retry(ctx context.Context, ids ...uuid.UUID) (n int, err error) {
	n, err = p.move(ctx, ids, []Status{Pending, Dead}, ActionRetry)
	if err != nil {
		return n, fmt.Errorf("outbox: retry: %w", err)
	}
	return n, nil
}

// Discard marks pending and dead messages discarded: they are not published, and no
// longer block later messages of their key. It needs a reason, which is stored before
// the last error, too. Discard returns how many messages it changed. For a
// discarded message it does nothing. For a published message the error matches
// ErrStatus, for an unknown id ErrNotFound; it is an UnchangedError. All other
// messages are changed nevertheless, in one transaction. A message that a relay is
// publishing at that moment may still be delivered.
func (p Operator) Discard(ctx context.Context, ids ...uuid.UUID) (n int, err error) {
	n, err = p.move(ctx, ids, []Status{Pending, Dead, Discarded}, ActionDiscard, p.reason)
	if err != nil {
		return n, fmt.Errorf("outbox: discard: %w", err)
	}
	return n, nil
}

// Retry is Operator.Retry in the name of this program.
func (o *Outbox) Retry(ctx context.Context, ids ...uuid.UUID) (n int, err error) {
	return o.Operator(thisProgram(), "").Retry(ctx, ids...)
}

// Discard is Operator.Discard in the name of this program.
func (o *Outbox) Discard(ctx context.Context, reason string, ids ...uuid.UUID) (n int, err error) {
	return o.Operator(thisProgram(), reason).Discard(ctx, ids...)
}

// move runs the UPDATE of an action with args and ids. Rows that stand in one of the
// given states were moved or had no need to be.
func (p Operator) move(ctx context.Context, ids []uuid.UUID, from []Status, action string, args ...any) (n int, err error) {
	if err := p.check(action); err != nil || len(ids) == 0 {
		return 0, err
	}
	var states map[uuid.UUID]Status
	err = p.outbox.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if states, err = lock(ctx, tx, jsonText(ids)); err != nil {
			return err
		}
		n, err = p.moveLocked(ctx, tx, ids, p.entry(action, nil), args...)
		return err
	})
	if err != nil {
		return 0, sqldb.Explain(err)
	}
	return n, unchanged(ids, states, from)
}

// moveLocked moves messages that tx has locked, and records those that it changed.
func (p Operator) moveLocked(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID, entry *Recorded, args ...any) (n int, err error) {
	var changed []string
	if err := tx.Select(ctx, &changed, entry.action, append(slices.Clip(args), jsonText(ids))...); err != nil || len(changed) == 0 {
		return 0, err
	}
	slices.Sort(changed)
	return len(changed), entry.add(ctx, tx, int64(len(changed)), changed)
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
