package console

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// pollInterval is the pause between two checks of a waiting command.
const pollInterval = 100 * time.Millisecond

// Look returns what is still missing, such as "12 still pending"; empty: the
// wait is over.
type Look func(context.Context) (missing string, err error)

// Until waits for something, such as "the outbox to drain", and reports what it
// waits for. An error of look ends the wait; the timeout ends it with exit code
// 7.
func (c *IO) Until(ctx context.Context, timeout time.Duration, what string, look Look) error {
	var missing atomic.Value
	missing.Store("")
	told := func() string {
		if m := missing.Load().(string); m != "" {
			return what + ": " + m
		}
		return what
	}
	return c.Wait(ctx, told, func(io.Writer) error {
		return Poll(ctx, timeout, what, func(ctx context.Context) (string, error) {
			m, err := look(ctx)
			if err == nil {
				missing.Store(m)
			}
			return m, err
		})
	})
}

// Poll is Until without output.
func Poll(ctx context.Context, timeout time.Duration, what string, look Look) error {
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
			return interruptedWait(what, last)
		case waiting.Err() != nil:
			return fail.New(fail.Timeout, "see: pulsectl status", "waited %s for %s", clip.Duration(timeout), strings.TrimSuffix(what+": "+last, ": "))
		case err != nil:
			return fail.Wrap("waiting for "+what, err)
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
		}
	}
}

func interruptedWait(what, missing string) error {
	if missing == "" {
		return fail.New(fail.Interrupted, "", "interrupted while waiting for %s", what)
	}
	return fail.New(fail.Interrupted, "", "interrupted, %s", missing)
}
