package reconcile

import (
	"context"
	"errors"
	"time"
)

// ErrUnsettled: messages were still moving when the time was up.
var ErrUnsettled = errors.New("not settled")

const (
	lookInterval = 200 * time.Millisecond
	// quiet is how long nothing may move before missing events count as lost:
	// a queue does not tell what a consumer holds unacknowledged.
	quiet = 5 * time.Second
)

// Settle reads until the report is a verdict: at once when nothing is pending,
// queued or missing, and after a quiet while when events are missing. When
// ctx ends first it returns the last report with ErrUnsettled. onChange, if
// not nil, hears of every report that differs from the one before.
func (l Ledger) Settle(ctx context.Context, onChange func(Report)) (Report, error) {
	var last Report
	since := time.Now()
	for first := true; ; first = false {
		r, err := l.Read(ctx)
		switch {
		case ctx.Err() != nil && !first:
			return last, ErrUnsettled
		case err != nil:
			return r, err
		}
		if first || r != last {
			last, since = r, time.Now()
			if onChange != nil {
				onChange(r)
			}
		}
		if r.Settled() && (r.Lost == 0 || time.Since(since) >= quiet) {
			return r, nil
		}
		select {
		case <-time.After(lookInterval):
		case <-ctx.Done():
			return r, ErrUnsettled
		}
	}
}
