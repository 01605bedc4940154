package inbox

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Waits between tries while something is away: doubled from the first to the
// last, with jitter.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// settleTimeout bounds one call of Source.Settle.
const settleTimeout = 30 * time.Second

// settler hands settlements to the source. Those the source could not take are
// repeated in the background, so that no worker waits for them.
type settler struct {
	source Source
	pulse  *pulse
	logger *slog.Logger
	wake   chan struct{} // holds one: there is something to repeat

	mu     sync.Mutex
	failed []Settlement
}

func newSettler(s Source, p *pulse, logger *slog.Logger) *settler {
	return &settler{source: s, pulse: p, logger: logger, wake: make(chan struct{}, 1)}
}

// settle tries once, and leaves to run what failed. It works on after ctx has
// ended: what is done must be said.
func (s *settler) settle(ctx context.Context, settlements []Settlement) {
	failed, err := s.try(context.WithoutCancel(ctx), settlements)
	if len(failed) == 0 {
		return
	}
	s.logger.WarnContext(ctx, "inbox: the source could not settle; trying again", "messages", len(failed), "error", err)
	s.keep(failed, err)
}

// try returns what has to be tried again, and why.
func (s *settler) try(ctx context.Context, settlements []Settlement) (failed []Settlement, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	stale := 0
	for i, outcome := range s.source.Settle(ctx, settlements) {
		switch {
		case outcome == nil:
		case errors.Is(outcome, ErrStale):
			stale++
		default:
			failed = append(failed, settlements[i])
			err = outcome
		}
	}
	if stale > 0 {
		s.pulse.change(func(h *Health) { h.Stale += int64(stale) })
	}
	return failed, err
}

func (s *settler) keep(failed []Settlement, err error) {
	s.mu.Lock()
	s.failed = append(s.failed, failed...)
	s.mu.Unlock()
	s.pulse.change(func(h *Health) {
		h.Unsettled += len(failed)
		h.LastError = err
	})
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *settler) take() []Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.failed
	s.failed = nil
	return taken
}

// run repeats failed settlements until all workers have handled and none is
// left, or ctx ends. What is left then the source delivers again.
func (s *settler) run(ctx context.Context, handled <-chan struct{}) {
	waits := backoff{}
	for {
		select {
		case <-s.wake:
		case <-handled:
			select {
			case <-s.wake:
			default:
				return
			}
		}
		if !waits.wait(ctx, nil) {
			return
		}
		taken := s.take()
		failed, err := s.try(ctx, taken)
		s.pulse.change(func(h *Health) { h.Unsettled -= len(taken) })
		if len(failed) == 0 {
			waits = backoff{}
			continue
		}
		s.keep(failed, err)
	}
}

// backoff is the growing wait of one outage.
type backoff struct{ last time.Duration }

// wait sleeps one step; false means that ctx has ended, or stop was closed.
func (b *backoff) wait(ctx context.Context, stop <-chan struct{}) bool {
	b.last = min(max(2*b.last, firstWait), lastWait)
	timer := time.NewTimer(b.last/2 + rand.N(b.last/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	case <-ctx.Done():
		return false
	}
}
