package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// fault is what the failure of a transaction means for its messages.
type fault int

const (
	blameless   fault = iota // the database ended it for reasons of its own: run it again
	away                     // something needed is not there: hold the messages, count nothing
	failed                   // the handler failed
	interrupted              // the shutdown limit cut it
)

// run is a group of deliveries on their way through one transaction.
type run struct {
	deliveries []Delivery
	watched    bool // a single one that was redelivered: its start is noted
	started    bool // noted
	alone      bool // an earlier start was not finished: nothing may run beside it
}

func (r *run) messages() []Message {
	msgs := make([]Message, len(r.deliveries))
	for i := range r.deliveries {
		msgs[i] = r.deliveries[i].Message
	}
	return msgs
}

// errUnfinished: an earlier start of a watched message was not finished.
var errUnfinished = errors.New("an earlier start was not finished")

// CrashLoopError says that a message was started, time and again, by
// processes that ended before it was finished.
type CrashLoopError struct{ Starts int }

func (e *CrashLoopError) Error() string {
	return fmt.Sprintf("started %d times by processes that did not live to finish it", e.Starts)
}

// attempt runs the group through one transaction. For a watched message it
// commits a start first, so that a crash leaves a trace.
func (c *Consumer) attempt(ctx context.Context, r *run) ([]claim, error) {
	if r.alone {
		c.solo.Lock()
		defer c.solo.Unlock()
	} else {
		c.solo.RLock()
		defer c.solo.RUnlock()
	}
	if c.in == nil {
		err := c.handler.safely(ctx, nil, r.deliveries[0].Message)
		if errors.Is(err, ErrConflict) {
			return []claim{conflicting}, nil
		}
		return []claim{unseen}, err
	}
	if r.watched && !r.started {
		if err := c.start(ctx, r); err != nil {
			return nil, err
		}
	}
	return c.in.transact(ctx, r.messages(), c.handler, r.watched)
}

// start notes the start of a watched message. errUnfinished asks for a second
// attempt with nothing beside it: started side by side with the culprit, its
// neighbours would be blamed as well.
func (c *Consumer) start(ctx context.Context, r *run) error {
	id := r.deliveries[0].Message.ID
	if !r.alone {
		first, err := c.in.start(ctx, id)
		if err != nil {
			return err
		}
		r.started, r.alone = first, !first
		if !first {
			return errUnfinished
		}
		return nil
	}
	starts, err := c.in.restart(ctx, id)
	if err != nil {
		return err
	}
	r.started = true
	if starts > c.cfg.CrashLimit {
		return &CrashLoopError{Starts: starts - 1}
	}
	return nil
}

// blame says what an error of attempt means.
func (c *Consumer) blame(ctx context.Context, err error) fault {
	at, lost := handling, false
	if tx, ok := errors.AsType[*txError](err); ok {
		at, lost = tx.phase, tx.lost
	}
	_, slow := errors.AsType[*HandlerTimeoutError](err)
	trouble := sqldb.Judge(err)
	switch {
	case ctx.Err() != nil:
		return interrupted
	case IsUnavailable(err):
		return away
	case at == handling && slow && c.reachable(ctx):
		return failed
	case at == handling && slow: // a hanging database looks like a slow handler until it is asked
		return away
	case endedByDatabase(err):
		return blameless
	case at == beginning:
		return away
	case trouble.Away() && trouble.GiveUp(): // whoever raised it may have given the connection up already
		return away
	case lost: // gone for good, or back by now: running it again tells
		return blameless
	case trouble.Away():
		return away
	case at == claiming && trouble != sqldb.BadData:
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

// HandlerTimeoutError says that a handler took longer than
// ConsumerConfig.HandlerTimeout.
type HandlerTimeoutError struct {
	Limit time.Duration
	Err   error // what the handler answered
}

func (e *HandlerTimeoutError) Error() string {
	return fmt.Sprintf("handler took longer than %v: %v", e.Limit, e.Err)
}
func (e *HandlerTimeoutError) Unwrap() error { return e.Err }

// timed gives h's context the time limit, and says so in the error.
func (c *Consumer) timed(h Handler) Handler {
	return func(ctx context.Context, tx Tx, msg Message) error {
		limited, cancel := context.WithTimeout(ctx, c.cfg.HandlerTimeout)
		defer cancel()
		err := h(limited, tx, msg)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			return &HandlerTimeoutError{Limit: c.cfg.HandlerTimeout, Err: err}
		}
		return err
	}
}
