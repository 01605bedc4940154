package inbox

import (
	"context"
	"errors"
	"fmt"
)

// attempt is a group of deliveries that share a transaction. It is a value:
// each step takes one and returns it as far as it came.
type attempt struct {
	deliveries []Delivery
	invalid    error  // a single delivery that holds no message, or breaks its contract; there is nothing to attempt
	reason     Reason // why invalid is dead-lettered
	watched    bool   // a single one that was redelivered: its start is recorded first
	recorded   bool   // it is
	alone      bool   // an earlier start was not finished: nothing may run beside it
}

func (a attempt) messages() []Message {
	msgs := make([]Message, len(a.deliveries))
	for i := range a.deliveries {
		msgs[i] = a.deliveries[i].Message
	}
	return msgs
}

// one is the attempt at the i-th delivery of a group by itself.
func (a attempt) one(i int) attempt { return attempt{deliveries: a.deliveries[i : i+1]} }

// applied is what a committed transaction made of its messages.
type applied struct {
	states    []claimState
	conflicts []error  // by index; nil where there is none
	changed   []string // what a handler changed of its session
	leftovers bool     // not all of it ended with the transaction
}

// errUnfinished: an earlier start of a watched message was not finished. The
// attempt is to be made again, with nothing beside it.
var errUnfinished = errors.New("an earlier start was not finished")

// CrashLoopError says that a message was started, time and again, by
// processes that ended before it was finished.
type CrashLoopError struct{ Starts int }

func (e *CrashLoopError) Error() string {
	return fmt.Sprintf("started %d times by processes that ended before it was finished", e.Starts)
}

// try takes the messages through one transaction. For a watched message it
// commits a start first, so that a crash leaves a trace. What the error means
// Consumer.judge says.
func (w *worker) try(ctx context.Context, a attempt) (attempt, applied, error) {
	c := w.c
	c.active.Add(1)
	defer c.active.Add(-1)
	defer c.ended.Add(1)
	if a.alone {
		c.solo.Lock()
		defer c.solo.Unlock()
	} else {
		c.solo.RLock()
		defer c.solo.RUnlock()
	}
	if a.watched && !a.recorded {
		var err error
		if a, err = c.recordStart(ctx, a); err != nil {
			return a, applied{}, err
		}
	}
	done, err := w.transact(ctx, a)
	return a, done, err
}

// recordStart commits the start of a watched message. errUnfinished asks for
// another attempt with nothing beside it: if messages started side by side with
// the culprit, they would be blamed as well.
func (c *Consumer) recordStart(ctx context.Context, a attempt) (attempt, error) {
	id := a.deliveries[0].Message.ID
	if !a.alone {
		first, err := c.in.start(ctx, id)
		if err != nil {
			return a, err
		}
		a.recorded, a.alone = first, !first
		if !first {
			return a, errUnfinished
		}
		return a, nil
	}
	starts, err := c.in.restart(ctx, id)
	if err != nil {
		return a, err
	}
	a.recorded = true
	if starts > c.cfg.CrashLimit {
		return a, &CrashLoopError{Starts: starts - 1}
	}
	return a, nil
}

// transact calls the handlers in a transaction of the inbox's, or the one that
// claims for itself.
func (w *worker) transact(ctx context.Context, a attempt) (applied, error) {
	c := w.c
	if c.fn != nil {
		return w.callFunc(ctx, a)
	}
	msgs := a.messages()
	t, err := c.in.transact(ctx, msgs, txOptions{
		handler: c.handler, finish: a.watched, wait: c.in.lockWait(c.locks.recent()),
		limit: c.cfg.HandlerTimeout, supervise: w.supervise, late: c.late,
	})
	if err != nil {
		return applied{}, err
	}
	done := applied{states: t.claims.states, conflicts: make([]error, len(msgs)), changed: t.changed, leftovers: t.unfit}
	for i, field := range t.claims.conflicts {
		if field != "" {
			done.conflicts[i] = c.in.conflict(msgs[i], field)
		}
	}
	return done, nil
}

// callFunc calls a handler that claims for itself.
func (w *worker) callFunc(ctx context.Context, a attempt) (applied, error) {
	limited, cancel := context.WithTimeout(ctx, w.c.cfg.HandlerTimeout)
	defer cancel()
	msg := a.deliveries[0].Message
	claims, s := w.c.tracker(msg, a.watched), w.supervise(ctx)
	answer := s.all(func() error {
		return s.each(limited, msg, func() error { return w.c.fn(claims.context(msg.context(limited)), msg) })
	})
	made, err := claims.confirm(ctx, msg, answer)
	switch {
	case errors.Is(err, ErrConflict):
		made.outcome = conflicting
	case err != nil:
		return applied{}, err
	}
	if !made.finished {
		w.c.clearStart(ctx, a)
	}
	return applied{states: []claimState{made.outcome}, conflicts: []error{err}}, nil
}
