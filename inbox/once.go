package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Outcome is the result of Once.
type Outcome string

// The outcomes.
const (
	Processed Outcome = "processed" // applied now
	Duplicate Outcome = "duplicate" // applied before; nothing was done
)

// Once applies msg in a transaction of its own, unless it was applied before:
// claim, apply and commit. It answers Duplicate without calling apply, and
// also after waiting for a copy that was being applied elsewhere. Transactions
// that end in a deadlock or a serialization failure are run again, a few times.
//
// The error of apply comes back as it is (a panic as a PanicError) after the
// rollback; what else: ConflictError, InvalidMessageError, ErrSchema, or the
// database's. After an error of the commit the message may have been applied:
// call Once again to find out.
func (in *Inbox) Once(ctx context.Context, msg Message, apply func(ctx context.Context, tx Tx) error) (Outcome, error) {
	if err := msg.validate(); err != nil {
		return "", fmt.Errorf("inbox: once: %w", err)
	}
	opts := txOptions{
		handler: func(ctx context.Context, tx Tx, _ Message) error { return apply(ctx, tx) },
		wait:    in.longLockWait(),
	}
	for rerun := 1; ; rerun++ {
		t, err := in.transact(ctx, []Message{msg}, opts)
		switch {
		case err == nil && t.claims.states[0] == conflicting:
			return "", in.conflict(msg, t.claims.conflicts[0])
		case err == nil && t.claims.states[0] == duplicate:
			return Duplicate, nil
		case err == nil:
			return Processed, nil
		case endedByDatabase(err) && rerun <= maxReruns && pause(ctx, rerun):
		default:
			failed, ok := errors.AsType[*txError](err)
			if ok && failed.phase == handling {
				return "", failed.err
			}
			return "", in.explain(ctx, "", msg, err)
		}
	}
}

// endedByDatabase reports whether a transaction may simply be run again. One
// that could not even begin has done its waiting.
func endedByDatabase(err error) bool {
	if tx, ok := errors.AsType[*txError](err); ok && tx.phase == beginning || is[*LockedError](err) {
		return false
	}
	return sqldb.Retryable(err) || errors.Is(err, errVanished)
}

// pause waits a little, longer with each rerun and never the same as others
// do; false means that ctx has ended.
func pause(ctx context.Context, rerun int) bool {
	timer := time.NewTimer(rand.N(time.Duration(rerun) * 5 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
