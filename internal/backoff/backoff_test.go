package backoff

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestExponential(t *testing.T) {
	const ms = time.Millisecond
	e := Exponential{First: 90 * ms, Longest: 3 * time.Second, Growth: 1}
	for failures, most := range map[int]time.Duration{
		-1: 90 * ms, 0: 90 * ms, 1: 90 * ms, 2: 180 * ms, 3: 360 * ms, 6: 2880 * ms, 7: 3 * time.Second, math.MaxInt: 3 * time.Second,
	} {
		differ := false
		first := e.After(failures)
		for range 200 {
			d := e.After(failures)
			if d < most*2/3 || d > most {
				t.Fatalf("%v after %d failures, want %v to %v", d, failures, most*2/3, most)
			}
			differ = differ || d != first
		}
		if !differ {
			t.Errorf("always %v after %d failures", first, failures)
		}
	}
	if d := (Exponential{First: time.Second, Longest: time.Hour, Growth: 2}).After(3); d < 10*time.Second || d > 16*time.Second {
		t.Errorf("%v: it does not quadruple", d)
	}
}

func TestPeriodic(t *testing.T) {
	p := Periodic{Interval: time.Minute, Retry: Exponential{First: time.Second, Longest: 4 * time.Second, Growth: 1}}
	failed := errors.New("failed")
	for _, c := range []struct {
		err         error
		took        time.Duration
		least, most time.Duration
	}{
		{nil, 0, time.Minute, time.Minute},
		{nil, time.Hour, time.Minute, time.Minute},
		{failed, 0, 600 * time.Millisecond, time.Second},
		{failed, 0, time.Second, 2 * time.Second},
		{failed, 0, 2 * time.Second, 4 * time.Second},
		{failed, 0, 2 * time.Second, 4 * time.Second},
		{failed, 30 * time.Second, 30 * time.Second, 30 * time.Second},
		{failed, time.Hour, time.Minute, time.Minute},
		{nil, 0, time.Minute, time.Minute},
		{failed, 0, 600 * time.Millisecond, time.Second},
	} {
		if d := p.After(c.err, c.took); d < c.least || d > c.most {
			t.Errorf("%v after %v that took %v, want %v to %v", d, c.err, c.took, c.least, c.most)
		}
	}
	p.Interval = time.Millisecond
	if d := p.After(failed, 0); d != time.Millisecond {
		t.Errorf("%v, want no more than the interval", d)
	}
}
