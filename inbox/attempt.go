package inbox

import (
	"context"
	"errors"
	"fmt"
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

// attempted is what came of a group whose transaction has committed.
type attempted struct {
	verdicts  []claim
	conflicts []error  // by index; nil where there is none
	changed   []string // what a handler changed of its session
	leftovers bool     // not all of it ended with the transaction
}

// attempt runs the group through one transaction. For a watched message it
// commits a start first, so that a crash leaves a trace.
func (l *lane) attempt(ctx context.Context, r *run) (*attempted, error) {
	c := l.c
	c.active.Add(1)
	defer c.active.Add(-1)
	if r.alone {
		c.solo.Lock()
		defer c.solo.Unlock()
	} else {
		c.solo.RLock()
		defer c.solo.RUnlock()
	}
	if r.watched && !r.started {
		if err := c.start(ctx, r); err != nil {
			return nil, err
		}
	}
	if c.fn != nil {
		return l.attemptFunc(ctx, r)
	}
	msgs := r.messages()
	t, err := c.in.transact(ctx, msgs, terms{
		handler: c.handler, finish: r.watched, wait: c.in.lockWait(c.locks.recent()),
		limit: c.cfg.HandlerTimeout, turn: l.turn, late: c.late,
	})
	if err != nil {
		return nil, err
	}
	done := &attempted{verdicts: t.claims.verdicts, conflicts: make([]error, len(msgs)), changed: t.changed, leftovers: t.unfit}
	for i, field := range t.claims.conflicts {
		if field != "" {
			done.conflicts[i] = c.in.conflict(msgs[i], field)
		}
	}
	return done, nil
}

// attemptFunc calls a handler that claims for itself.
func (l *lane) attemptFunc(ctx context.Context, r *run) (*attempted, error) {
	limited, cancel := context.WithTimeout(ctx, l.c.cfg.HandlerTimeout)
	defer cancel()
	msg := r.deliveries[0].Message
	claims, u := l.c.tracker(msg, r.watched), l.turn(ctx)
	answer := u.all(func() error {
		return u.each(limited, msg, func() error { return l.c.fn(claims.context(msg.context(limited)), msg) })
	})
	made, err := claims.confirm(ctx, msg, answer)
	switch {
	case errors.Is(err, ErrConflict):
		made.outcome = conflicting
	case err != nil:
		return nil, err
	}
	if !made.finished {
		l.finish(ctx, r)
	}
	return &attempted{verdicts: []claim{made.outcome}, conflicts: []error{err}}, nil
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
