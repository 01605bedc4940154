// Package backoff computes the waits between retries.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Exponential is a wait that grows with each failure, up to a limit. A third of it
// is random, so that those who failed together do not retry together.
type Exponential struct {
	First   time.Duration // at most, after the first failure
	Longest time.Duration // at most, after any
	// Growth is the power of two by which it grows with each failure: 1 doubles it.
	Growth int
}

// After returns the wait after the given number of failures in a row; less than
// 1 counts as 1. It is at least two thirds of First, if Longest is no less.
func (e Exponential) After(failures int) time.Duration {
	d := min(e.First, e.Longest)
	for n := 1; n < failures && d < e.Longest; n++ {
		d = min(d<<e.Growth, e.Longest)
	}
	return d*2/3 + rand.N(max(d/3, 1))
}

// Periodic is the waits of work that is done at an interval, and again soon where it
// has failed: what health tells of it is not to outlast its cause by an interval. It
// is for one goroutine at a time.
type Periodic struct {
	Interval time.Duration
	Retry    Exponential
	failures int // in a row
}

// After returns the wait after the work has taken some time and ended with err. It is
// never longer than Interval, and after a failure else no shorter than the work took.
func (p *Periodic) After(err error, took time.Duration) time.Duration {
	if err == nil {
		p.failures = 0
		return p.Interval
	}
	p.failures++
	return min(p.Interval, max(p.Retry.After(p.failures), took))
}
