package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// apply takes a group through one transaction and settles it. When a handler
// in the group fails, or must not share its transaction, the group is rolled
// back and its messages are run one by one, so that the culprit alone suffers.
func (l *lane) apply(ctx context.Context, r *run) {
	hold := holding{lane: l}
	defer hold.end()
	for reruns := 0; ; {
		if l.stopping() {
			l.leave(ctx, r)
			return
		}
		done, err := l.attempt(ctx, r)
		if err == nil {
			hold.end()
			l.settleClaims(ctx, r, done)
			return
		}
		if errors.Is(err, errUnfinished) {
			continue
		}
		if crash, ok := errors.AsType[*CrashLoopError](err); ok {
			l.finish(ctx, r)
			l.setAside(ctx, r.deliveries[0], ReasonCrashLoop, crash)
			return
		}
		switch verdict := l.c.judge(ctx, r, reruns, err); verdict {
		case blameless:
			reruns++
			l.c.log(ctx, slog.LevelWarn, "inbox: the database has ended a transaction; running it again", r.deliveries[0], err,
				"messages", len(r.deliveries), "rerun", reruns)
			pause(ctx, reruns)
		case away:
			reruns = 0
			hold.wait(ctx, err)
		case interrupted:
			l.leave(ctx, r)
			return
		default:
			hold.end()
			l.fail(ctx, r, verdict, err)
			return
		}
	}
}

// leave gives a group back at shutdown.
func (l *lane) leave(ctx context.Context, r *run) {
	l.finish(ctx, r)
	l.giveBack(ctx, r.deliveries)
}

// finish removes the noted start of a message that did not take the process
// down, where the transaction of its effect could not.
func (l *lane) finish(ctx context.Context, r *run) {
	if !r.started {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.c.in.noteTimeout())
	defer cancel()
	if err := l.c.in.finish(ctx, l.c.in.db, r.messages()); err != nil {
		l.c.log(ctx, slog.LevelWarn, "inbox: could not note that a redelivered message was finished", r.deliveries[0], err)
	}
}

// settleClaims settles what a committed transaction made of its messages.
func (l *lane) settleClaims(ctx context.Context, r *run, done *attempted) {
	settlements := make([]Settlement, len(r.deliveries))
	var applied, duplicates int64
	for i, d := range r.deliveries {
		settlements[i] = Settlement{Delivery: d, Action: Ack}
		switch done.verdicts[i] {
		case unseen:
			applied++
		case duplicate:
			duplicates++
		case conflicting:
			settlements[i] = Settlement{Delivery: d, Action: SetAside, Reason: ReasonConflict, Err: done.conflicts[i]}
		}
	}
	l.c.free(r.deliveries)
	l.noteChange(ctx, r.deliveries[0], done)
	l.c.settler.settle(ctx, settlements)
	l.c.pulse.change(func(h *Health) {
		h.Applied += applied
		h.Duplicates += duplicates
	})
}

// fail deals with a transaction that came to nothing for good.
func (l *lane) fail(ctx context.Context, r *run, verdict fault, err error) {
	if verdict == heldUp {
		l.c.locks.found()
	}
	if len(r.deliveries) > 1 {
		l.separate(ctx, r, verdict, err)
		return
	}
	l.finish(ctx, r)
	d := r.deliveries[0]
	failures := d.Failures + 1
	maxAttempts, backoff := l.c.cfg.retries(err)
	dead, asked := errors.AsType[*DeadLetterError](err)
	failed, _ := errors.AsType[*txError](err)
	switch {
	case verdict == heldUp:
		l.postpone(ctx, d, err)
		return
	case failed != nil && slices.Contains(failed.stray, d.Message.ID):
		// Another attempt would take it for a duplicate.
		l.setAside(ctx, d, ReasonHandler, fmt.Errorf("%w; its claim was committed all the same, maybe with an effect, so look before it is applied again: "+
			"while processed_events has the event, it counts as applied", err))
	case asked:
		l.setAside(ctx, d, dead.Reason, err)
	case maxAttempts != Unlimited && failures >= maxAttempts:
		l.setAside(ctx, d, ReasonHandler, err)
	default:
		var delay time.Duration
		if retry, asked := errors.AsType[*RetryError](err); asked {
			delay = retry.After
		} else {
			delay = l.c.delay(ctx, d, backoff, failures)
		}
		l.c.settler.settle(ctx, []Settlement{{Delivery: d, Action: Park, Delay: delay, Reason: ReasonHandler, Err: err}})
	}
	l.c.free(r.deliveries)
}

// separate runs the messages of a group one by one. Those whose claims were
// committed by somebody else than us cannot be run again.
func (l *lane) separate(ctx context.Context, r *run, verdict fault, err error) {
	level := slog.LevelInfo
	if verdict == blameless || is[*IdleTransactionError](err) || is[*MisuseError](err) {
		level = slog.LevelWarn
	}
	l.c.log(ctx, level, "inbox: a batch was rolled back; running its messages one by one", r.deliveries[0], err, "messages", len(r.deliveries))
	failed, _ := errors.AsType[*txError](err)
	for i, d := range r.deliveries {
		one := &run{deliveries: r.deliveries[i : i+1]}
		if failed != nil && slices.Contains(failed.stray, d.Message.ID) {
			l.fail(ctx, one, verdict, err)
			continue
		}
		l.apply(ctx, one)
	}
}

// postpone lets a message wait whose event another transaction holds. It holds
// up nobody meanwhile, and no attempt is counted.
func (l *lane) postpone(ctx context.Context, d Delivery, err error) {
	tell := l.c.locks.due(d.Message.ID)
	if l.c.in != nil && tell {
		err = l.c.in.explain(ctx, "", d.Message, err)
	}
	if tell {
		l.c.log(ctx, slog.LevelWarn, "inbox: an event is locked; its message comes again, and no attempt is counted", d, err, "delay", lockedDelay)
	}
	l.c.locks.note(d.Message.ID, err, tell)
	l.c.tell(partLocks, l.c.locks.err)
	l.c.settler.settle(ctx, []Settlement{{Delivery: d, Action: Park, Delay: lockedDelay, Err: err, Uncounted: true}})
}

func (l *lane) setAside(ctx context.Context, d Delivery, reason Reason, err error) {
	l.c.settler.settle(ctx, []Settlement{{Delivery: d, Action: SetAside, Reason: reason, Err: err}})
}

func (l *lane) giveBack(ctx context.Context, ds []Delivery) {
	settlements := make([]Settlement, len(ds))
	for i, d := range ds {
		settlements[i] = Settlement{Delivery: d, Action: GiveBack}
	}
	l.c.settler.settle(ctx, settlements)
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
