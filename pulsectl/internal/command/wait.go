package command

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// pollInterval is how often a waiting command looks again.
const pollInterval = 100 * time.Millisecond

// look finds out what a wait is still for, such as "12 still pending"; nothing:
// it is over.
type look func(context.Context) (missing string, err error)

// until waits for something, such as "the outbox to drain", and tells what it
// waits for. An error of look ends the wait; the timeout ends it with exit code 7.
func (e *Env) until(ctx context.Context, timeout time.Duration, what string, look look) error {
	var missing atomic.Value
	missing.Store("")
	told := func() string {
		if m := missing.Load().(string); m != "" {
			return what + ": " + m
		}
		return what
	}
	return e.IO.Wait(ctx, told, func(io.Writer) error {
		return poll(ctx, timeout, what, func(ctx context.Context) (string, error) {
			m, err := look(ctx)
			if err == nil {
				missing.Store(m)
			}
			return m, err
		})
	})
}

// poll is until without a word while it waits.
func poll(ctx context.Context, timeout time.Duration, what string, look look) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last := ""
	for {
		missing, err := look(waiting)
		if err == nil {
			if missing == "" {
				return nil
			}
			last = missing
		}
		switch {
		case ctx.Err() != nil:
			return interrupted(what, last)
		case waiting.Err() != nil:
			return fail.New(fail.Timeout, "look at: pulsectl status", "waited %s for %s", short(timeout), strings.TrimSuffix(what+": "+last, ": "))
		case err != nil:
			return fail.Wrap("waiting for "+what, err)
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
		}
	}
}

func interrupted(what, missing string) error {
	if missing == "" {
		return fail.New(fail.Interrupted, "", "interrupted while waiting for %s", what)
	}
	return fail.New(fail.Interrupted, "", "interrupted, %s", missing)
}

// short writes 1m of a minute, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
