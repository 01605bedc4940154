package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/backoff"
)

// waits are those between tries while something is unavailable.
var waits = backoff.Exponential{First: 100 * time.Millisecond, Longest: 5 * time.Second, Growth: 1}

// settleTimeout bounds one call of Source.Settle.
const settleTimeout = 30 * time.Second

// settler hands settlements to the source, counts them and logs them once the
// source has them. Workers wait for acknowledgements only: what has to be
// published, and may find a queue full or missing, is left to run, which
// repeats what the source could not take.
type settler struct {
	source  Source
	monitor *monitor
	log     deliveryLog
	tracing *tracing
	metrics *consumerMetrics
	wake    chan struct{} // holds one: there is something fresh

	mu     sync.Mutex
	fresh  []Settlement // not tried yet
	failed []Settlement // tried in vain
}

// deliveryLog writes a line about one delivery.
type deliveryLog func(ctx context.Context, level slog.Level, text string, d Delivery, err error, attrs ...any)

func newSettler(s Source, p *monitor, log deliveryLog, t *tracing, m *consumerMetrics) *settler {
	return &settler{source: s, monitor: p, log: log, tracing: t, metrics: m, wake: make(chan struct{}, 1)}
}

// settle acknowledges what is to be acknowledged, and leaves the rest to run.
// It works on after ctx has ended: what is done must be said.
func (s *settler) settle(ctx context.Context, settlements []Settlement) {
	var acks, rest []Settlement
	within := processOf(ctx)
	for _, st := range settlements {
		st.process = within
		if st.Action == ActionAck {
			acks = append(acks, st)
		} else {
			rest = append(rest, st)
		}
	}
	var failed []Settlement
	if len(acks) > 0 {
		failed = s.try(context.WithoutCancel(ctx), acks, 0)
	}
	if len(failed)+len(rest) == 0 {
		return
	}
	s.mu.Lock()
	s.failed = append(s.failed, failed...)
	s.fresh = append(s.fresh, rest...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// try returns what has to be tried again. before is how many of the
// settlements have failed already.
func (s *settler) try(ctx context.Context, settlements []Settlement, before int) (failed []Settlement) {
	var counts settleCounts
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ctx, span := s.tracing.startSettle(ctx, settlements)
	began := time.Now()
	for i, outcome := range s.source.Settle(ctx, settlements) {
		diverted, moved := errors.AsType[*DivertedError](outcome)
		switch {
		case outcome == nil:
			counts.add(settlements[i], settlements[i].Action)
			s.tell(ctx, settlements[i], nil)
		case moved:
			counts.add(settlements[i], diverted.Action)
			s.tell(ctx, settlements[i], diverted)
		case errors.Is(outcome, ErrStale):
			counts.stale++
		default:
			failed = append(failed, settlements[i])
			counts.err = outcome
		}
	}
	counts.failed = len(failed)
	endSettle(span, counts)
	s.metrics.settled(ctx, began, counts)
	if len(failed) > 0 && before == 0 {
		s.log(ctx, slog.LevelWarn, "inbox: the source could not settle; trying again", failed[0].Delivery, counts.err, "messages", len(failed))
	}
	s.monitor.change(func(h *Health) {
		h.Retried += counts.by[ActionRetry]
		h.DeadLettered += counts.by[ActionDeadLetter]
		h.Requeued += counts.by[ActionRequeue]
		h.Stale += counts.stale
		h.Unsettled += len(failed) - before
		if counts.err != nil {
			h.LastError = counts.err
		}
	})
	return failed
}

// tell logs a settlement that the source has carried out, diverted if that is
// not nil.
func (s *settler) tell(ctx context.Context, st Settlement, diverted *DivertedError) {
	ctx = st.process.context(ctx)
	action, attrs := st.Action, []any{"reason", st.Reason}
	if diverted != nil {
		action = diverted.Action
		if action != st.Action {
			attrs = append(attrs, "instead_of", st.Action.String())
		}
		attrs = append(attrs, "because", diverted.Err)
	}
	switch action {
	case ActionDeadLetter:
		s.log(ctx, slog.LevelError, "inbox: message dead-lettered", st.Delivery, st.Err, attrs...)
	case ActionRetry:
		if is[*LockedError](st.Err) { // told where it was found, and not each time
			return
		}
		text := "inbox: handler failed; the message is retried"
		if st.Uncounted {
			text = "inbox: the message is retried; no attempt is counted"
		}
		s.log(ctx, slog.LevelWarn, text, st.Delivery, st.Err, append(attrs, "delay", st.Delay)...)
	}
}

// run settles what settle has left to it, until all workers have handled and
// none is left. Once ctx has ended everything is tried once more at most; what
// is left then the source delivers again.
func (s *settler) run(ctx context.Context, handled <-chan struct{}) {
	var out outage
	var due <-chan time.Time // nil: nothing has failed
	for cut := ctx.Done(); ; {
		select {
		case <-s.wake:
			s.attempt(context.WithoutCancel(ctx), s.take(&s.fresh), 0)
		case <-due:
			due = nil
			old := s.take(&s.failed)
			if s.attempt(ctx, old, len(old)) > 0 {
				out = outage{}
			}
		case <-handled:
			handled = nil
		case <-cut:
			cut = nil
		}
		fresh, failed := s.left()
		switch {
		case cut == nil:
			due, failed = nil, 0
		case failed > 0 && due == nil:
			due = time.After(out.next())
		}
		if fresh+failed == 0 && handled == nil {
			return
		}
	}
}

// attempt tries settlements, keeps those that fail, and returns how many did
// not.
func (s *settler) attempt(ctx context.Context, settlements []Settlement, before int) (settled int) {
	if len(settlements) == 0 {
		return 0
	}
	failed := s.try(ctx, settlements, before)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, failed...)
	return len(settlements) - len(failed)
}

func (s *settler) take(from *[]Settlement) []Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := *from
	*from = nil
	return taken
}

func (s *settler) left() (fresh, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fresh), len(s.failed)
}

// outage counts the tries in vain of what is unavailable.
type outage struct{ failures int }

// next returns the wait before the next try.
func (o *outage) next() time.Duration {
	o.failures++
	return waits.After(o.failures)
}

// wait sleeps until the next try; it returns early when ctx has ended or stop
// was closed.
func (o *outage) wait(ctx context.Context, stop <-chan struct{}) {
	timer := time.NewTimer(o.next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	case <-ctx.Done():
	}
}
