package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// readLimit bounds the reading of the history.
const readLimit = 2 * time.Minute

// Plan returns what the schedule is drawn from.
func (c Config) Plan() Plan {
	return Plan{Seed: c.Seed, Duration: c.Duration, Kinds: c.Kinds, Targets: c.Targets()}
}

// Run runs the whole of it. The error says why there is no verdict.
func Run(ctx context.Context, c Config) (r *Result, err error) {
	if c.Told == nil {
		c.Told = func(Event) {}
	}
	if c.Faults == nil {
		c.Faults = c.Plan().Schedule()
	}
	if err := Validate(c.Faults, c.Known(), c.Targets()); err != nil {
		return nil, err
	}
	s, err := newSystem(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()

	t := NewTap(s.tapQueue(), s.broker)
	tapping, stopTapping := context.WithCancel(context.WithoutCancel(ctx))
	var observing sync.WaitGroup
	observing.Go(func() { t.Run(tapping) })
	defer observing.Wait()
	defer stopTapping()

	r = &Result{Config: c, Began: time.Now()}
	l := &load{url: s.service, rate: c.Rate}
	if err := s.attack(ctx, l, r); err != nil {
		return nil, err
	}
	healed := time.Since(r.Began)
	c.Told(Event{At: healed, Text: fmt.Sprintf("all faults have ended; %d orders were accepted", l.accepted())})
	h := &check.History{Answers: l.told()}
	settling, cancel := context.WithTimeout(ctx, c.SettleLimit)
	defer cancel()
	if r.Waiting = s.await(settling); r.Waiting == "" {
		// Now that all of it is done, some of it comes again.
		if h.Replayed, err = s.replay(settling, t.Publications()); err != nil {
			return nil, err
		}
	}
	if r.Waiting, err = s.settle(settling); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.Took = time.Since(r.Began)
	r.Settled = r.Took - healed
	within, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if err := s.read(within, h); err != nil {
		return nil, err
	}
	stopTapping()
	observing.Wait()
	h.Publications = t.Publications()
	r.History, r.Report, r.Crashes = h, check.Judge(h), s.crashed()
	r.measure()
	return r, nil
}

// attack runs load and faults at the same time.
func (s *system) attack(ctx context.Context, l *load, r *Result) error {
	var running sync.WaitGroup
	running.Go(func() {
		limit, cancel := context.WithTimeout(ctx, s.cfg.Duration)
		defer cancel()
		l.run(limit, s.cfg.Seed)
	})
	r.Faults = Inject(ctx, r.Began, s.cfg.Faults, s.begin, s.cfg.Told)
	running.Wait()
	return ctx.Err()
}
