package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// verdict is what the failure of a transaction means for its messages.
type verdict int

const (
	blameless   verdict = iota // the database ended it for reasons of its own: run it again
	apart                      // its messages have to be run one by one
	heldUp                     // another transaction holds the event: it has to wait
	away                       // something needed is not there: hold the messages, count nothing
	failed                     // the handler failed
	interrupted                // the shutdown limit cut it
)

// IdleTransactionError says that the database ended a transaction in which the
// handler asked nothing of it for too long.
type IdleTransactionError struct {
	Limit time.Duration // idle_in_transaction_session_timeout; 0: not known
	Err   error         // what the driver said of it
}

func (e *IdleTransactionError) Error() string {
	limit := ""
	if e.Limit > 0 {
		limit = fmt.Sprintf(" (idle_in_transaction_session_timeout is %v)", e.Limit)
	}
	return fmt.Sprintf("handler let its transaction idle until the database ended it%s: %v", limit, e.Err)
}
func (e *IdleTransactionError) Unwrap() error { return e.Err }

// ranOut reports whether a session that is gone, and was idle for so long, may
// have been ended for it. The server's clock starts when it has sent an answer,
// ours when that has come, so that less than the limit is enough.
func ranOut(idle, limit time.Duration) bool { return limit > 0 && idle >= limit*3/4 }

// is reports whether err is, or wraps, a T.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// judge says what is to be done about an error of attempt, after the given
// number of reruns.
func (c *Consumer) judge(ctx context.Context, a attempt, reruns int, err error) verdict {
	if is[*CrashLoopError](err) {
		return failed
	}
	found := c.blame(ctx, err)
	if found == blameless {
		found = again(a, reruns, err)
	}
	if found == failed && !c.takesClaims(ctx, err) {
		return away
	}
	return found
}

// takesClaims reports whether the database would have taken the claim that a
// handler which claims for itself has not made. NewConsumer's claim comes first,
// so that there an outage is met before the handler fails.
func (c *Consumer) takesClaims(ctx context.Context, err error) bool {
	if tx, ok := errors.AsType[*txError](err); c.in == nil || !ok || tx.phase != unclaimed {
		return true
	}
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	notReady := c.in.CheckReady(bounded)
	if errors.Is(notReady, sqldb.ErrBusy) || sqldb.Judge(notReady) == sqldb.Transient {
		return sqldb.Judge(err) != sqldb.Transient // others write, which need not be why it failed
	}
	return notReady == nil
}

// blame says what an error of attempt means.
func (c *Consumer) blame(ctx context.Context, err error) verdict {
	at, lost, stray := handling, false, false
	if tx, ok := errors.AsType[*txError](err); ok {
		at, lost, stray = tx.phase, tx.lost, len(tx.stray) > 0
	}
	trouble := sqldb.Judge(err)
	switch slow := is[*HandlerTimeoutError](err); {
	case stray: // another run, whenever it comes, would take its messages for duplicates
		return failed
	case ctx.Err() != nil:
		return interrupted
	case is[*aloneError](err):
		return apart
	case is[*LockedError](err):
		return heldUp
	case is[*IdleTransactionError](err), is[*MisuseError](err) && !trouble.Away():
		return failed
	case is[*UnavailableError](err):
		return away
	case (at == handling || at == unclaimed) && slow && c.reachable(ctx):
		return failed
	case (at == handling || at == unclaimed) && slow: // a hanging database looks like a slow handler until it is asked
		return away
	case endedByDatabase(err):
		return blameless
	case at == beginning, at == confirming:
		return away
	case trouble.Away() && trouble.GiveUp() && at != verifying: // whoever raised it may have given the connection up already
		return away
	case lost && c.fn != nil && !c.reachable(ctx):
		return away
	case lost: // gone for good, or back by now: running it again tells
		return blameless
	case at == verifying && trouble == sqldb.Refused: // by rights that a handler has taken on
		return failed
	case trouble.Away():
		return away
	case (at == claiming || at == verifying) && trouble != sqldb.BadData:
		return away
	}
	return failed
}

// Runs of a transaction that comes to nothing, without anyone to blame, before
// it is taken for the handler's doing. A connection that is lost twice while the
// same handler runs is no accident any more.
const (
	maxReruns     = 5 // ended by the database, such as by a deadlock
	maxLostReruns = 2 // its connection was lost
	batchReruns   = 2 // of a batch: then its messages are run one by one
)

// again decides on the rerun of a blameless transaction.
func again(a attempt, reruns int, err error) verdict {
	tx, _ := errors.AsType[*txError](err)
	lost := tx != nil && tx.lost && tx.phase != claiming && tx.phase != unclaimed
	switch {
	case len(a.deliveries) > 1 && (lost || reruns >= batchReruns):
		return apart
	case !lost && reruns < maxReruns, lost && reruns < maxLostReruns:
		return blameless
	case tx != nil && (tx.phase == beginning || tx.phase == claiming):
		return away
	}
	return failed
}

// reachable reports whether the database answers; where there is none of ours
// there is nothing to doubt.
func (c *Consumer) reachable(ctx context.Context) bool {
	if c.in == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return c.in.db.PingContext(ctx) == nil
}
