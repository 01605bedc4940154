package inbox

import (
	"context"
	"errors"
	"log/slog"
)

// apply takes a group through one transaction and settles it. When a handler
// in the group fails the group is rolled back and its messages are run one by
// one, so that the culprit alone suffers.
func (l *lane) apply(ctx context.Context, r *run) {
	hold := holding{lane: l}
	defer hold.end()
	for reruns := 0; ; {
		if l.stopping() {
			l.leave(ctx, r)
			return
		}
		claims, err := l.c.attempt(ctx, r)
		if err == nil {
			hold.end()
			l.settleClaims(ctx, r, claims)
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
		verdict := l.c.blame(ctx, err)
		if verdict == blameless && reruns == maxReruns {
			reruns = 0
			verdict = worn(err)
		}
		switch verdict {
		case blameless:
			reruns++
			pause(ctx, reruns)
		case away:
			hold.wait(ctx, err)
		case interrupted:
			l.leave(ctx, r)
			return
		case failed:
			hold.end()
			l.fail(ctx, r, err)
			return
		}
	}
}

// worn is what a transaction stands for that came to nothing each time it was
// run, without anyone to blame: the handler's doing if it came that far.
func worn(err error) fault {
	if tx, ok := errors.AsType[*txError](err); ok && (tx.phase == beginning || tx.phase == claiming) {
		return away
	}
	return failed
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
func (l *lane) settleClaims(ctx context.Context, r *run, claims []claim) {
	settlements := make([]Settlement, len(claims))
	var applied, duplicates int64
	for i, d := range r.deliveries {
		settlements[i] = Settlement{Delivery: d, Action: Ack}
		switch claims[i] {
		case unseen:
			applied++
		case duplicate:
			duplicates++
		case conflicting:
			err := &ConflictError{Consumer: l.c.name(), EventID: d.Message.ID}
			settlements[i] = Settlement{Delivery: d, Action: SetAside, Reason: ReasonConflict, Err: err}
		}
	}
	l.c.settler.settle(ctx, settlements)
	l.c.pulse.change(func(h *Health) {
		h.Applied += applied
		h.Duplicates += duplicates
	})
}

// fail deals with the failure of a handler.
func (l *lane) fail(ctx context.Context, r *run, err error) {
	if len(r.deliveries) > 1 {
		for i := range r.deliveries {
			l.apply(ctx, &run{deliveries: r.deliveries[i : i+1]})
		}
		return
	}
	l.finish(ctx, r)
	d := r.deliveries[0]
	failures := d.Failures + 1
	reason, dead := DeadLetterReason(err)
	switch {
	case dead:
		l.setAside(ctx, d, reason, err)
	case l.c.cfg.MaxAttempts != Unlimited && failures >= l.c.cfg.MaxAttempts:
		l.setAside(ctx, d, ReasonHandler, err)
	default:
		delay, asked := RetryAfter(err)
		if !asked {
			delay = l.c.cfg.Backoff(failures)
		}
		l.c.settler.settle(ctx, []Settlement{{Delivery: d, Action: Park, Delay: delay, Reason: ReasonHandler, Err: err}})
	}
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
	attrs = append(attrs, "error", err, "consumer", c.name(),
		"event_id", d.Message.ID, "topic", d.Message.Topic, "attempt", d.Failures+1)
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	c.cfg.Logger.Log(d.Message.context(ctx), level, text, attrs...)
}
