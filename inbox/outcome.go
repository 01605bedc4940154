package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// outcome is what is to become of the deliveries of an attempt.
type outcome struct {
	settlements         []Settlement
	applied, duplicates int64  // to be counted
	effects             []bool // by settlement, whether it was applied; nil: none was
}

// committed is the outcome of an attempt whose transaction has committed.
func committed(a attempt, done applied) outcome {
	o := outcome{settlements: make([]Settlement, len(a.deliveries))}
	for i, d := range a.deliveries {
		o.settlements[i] = Settlement{Delivery: d, Action: ActionAck}
		switch done.states[i] {
		case unseen:
			o.applied++
			if o.effects == nil {
				o.effects = make([]bool, len(a.deliveries))
			}
			o.effects[i] = true
		case duplicate:
			o.duplicates++
		case conflicting:
			o.settlements[i] = Settlement{Delivery: d, Action: ActionDeadLetter, Reason: ReasonConflict, Err: done.conflicts[i]}
		}
	}
	return o
}

func deadLettered(d Delivery, reason Reason, err error) outcome {
	return outcome{settlements: []Settlement{{Delivery: d, Action: ActionDeadLetter, Reason: reason, Err: err}}}
}

func retried(d Delivery, delay time.Duration, err error) outcome {
	return outcome{settlements: []Settlement{{Delivery: d, Action: ActionRetry, Delay: delay, Reason: ReasonHandler, Err: err}}}
}

func requeued(ds []Delivery) outcome {
	o := outcome{settlements: make([]Settlement, len(ds))}
	for i, d := range ds {
		o.settlements[i] = Settlement{Delivery: d, Action: ActionRequeue}
	}
	return o
}

// fail ends an attempt whose transaction came to nothing, and is not to be run
// again as it is. A group is divided, so that the culprit alone suffers.
func (w *worker) fail(ctx context.Context, a attempt, v verdict, err error) {
	if v == heldUp {
		w.c.locks.found()
	}
	if len(a.deliveries) > 1 {
		processOf(ctx).rollBack(err)
		w.separate(ctx, a, v, err)
		return
	}
	w.c.clearStart(ctx, a)
	if v == heldUp {
		w.settle(ctx, w.postponed(ctx, a.deliveries[0], err))
		return
	}
	w.settle(ctx, w.failed(ctx, a.deliveries[0], err))
	w.c.markFree(a.deliveries)
}

// separate runs the messages of a group one by one. Those whose claims were
// committed by somebody else than us cannot be run again.
func (w *worker) separate(ctx context.Context, a attempt, v verdict, err error) {
	level := slog.LevelInfo
	if v == blameless || is[*IdleTransactionError](err) || is[*MisuseError](err) {
		level = slog.LevelWarn
	}
	w.c.log(ctx, level, "inbox: a batch was rolled back; running its messages one by one", a.deliveries[0], err, "messages", len(a.deliveries))
	for i, d := range a.deliveries {
		if isStray(err, d.Message.ID) {
			w.fail(ctx, a.one(i), v, err)
			continue
		}
		w.apply(ctx, a.one(i))
	}
}

// isStray reports whether the claim of the event was committed although its
// transaction failed; see txError.
func isStray(err error, id string) bool {
	failed, ok := errors.AsType[*txError](err)
	return ok && slices.Contains(failed.stray, id)
}

// failed is the outcome of a message whose handling has failed.
func (w *worker) failed(ctx context.Context, d Delivery, err error) outcome {
	failures := d.Failures + 1
	maxAttempts, backoff := w.c.cfg.retries(err)
	if crash, ok := errors.AsType[*CrashLoopError](err); ok {
		return deadLettered(d, ReasonCrashLoop, crash)
	}
	if isStray(err, d.Message.ID) { // another attempt would take it for a duplicate
		return deadLettered(d, ReasonHandler, fmt.Errorf("%w; its claim was committed all the same, maybe with an effect, so look before it is applied again: "+
			"while processed_events has the event, it counts as applied", err))
	}
	if asked, ok := errors.AsType[*DeadLetterError](err); ok {
		return deadLettered(d, asked.Reason, err)
	}
	if maxAttempts != Unlimited && failures >= maxAttempts {
		return deadLettered(d, ReasonHandler, err)
	}
	if asked, ok := errors.AsType[*RetryError](err); ok {
		return retried(d, asked.After, err)
	}
	return retried(d, w.c.delay(ctx, d, backoff, failures), err)
}

// postponed is the outcome of a message whose event another transaction has
// locked: it comes again without counting an attempt, and holds up no other.
func (w *worker) postponed(ctx context.Context, d Delivery, err error) outcome {
	report := w.c.locks.due(d.Message.ID)
	if w.c.in != nil && report {
		err = w.c.in.explain(ctx, "", d.Message, err)
	}
	if report {
		w.c.log(ctx, slog.LevelWarn, "inbox: an event is locked; its message is retried later, and no attempt is counted", d, err, "delay", lockedDelay)
	}
	w.c.locks.note(d.Message.ID, err, report)
	w.c.tell(partLocks, w.c.locks.err)
	return outcome{settlements: []Settlement{{Delivery: d, Action: ActionRetry, Delay: lockedDelay, Err: err, Uncounted: true}}}
}

// clearStart removes the recorded start of a message that did not crash the
// process, where the transaction of its effect could not.
func (c *Consumer) clearStart(ctx context.Context, a attempt) {
	if !a.recorded {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.in.noteTimeout())
	defer cancel()
	if err := c.in.finish(ctx, c.in.db, a.messages()); err != nil {
		c.log(ctx, slog.LevelWarn, "inbox: could not record that a redelivered message was finished", a.deliveries[0], err)
	}
}

func (c *Consumer) logRerun(ctx context.Context, a attempt, reruns int, err error) {
	c.log(ctx, slog.LevelWarn, "inbox: the database has ended a transaction; running it again", a.deliveries[0], err,
		"messages", len(a.deliveries), "rerun", reruns)
}

// log writes a line about one delivery, with its ids and, after a panic, where
// that came from.
func (c *Consumer) log(ctx context.Context, level slog.Level, text string, d Delivery, err error, attrs ...any) {
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	attrs = append(attrs, "consumer", c.name(), "event_id", d.Message.ID, "topic", d.Message.Topic, "attempt", d.Failures+1)
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	c.cfg.Logger.Log(d.Message.context(ctx), level, text, attrs...)
}
