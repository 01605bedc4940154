package check

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func limit(warn, crit float64, low bool) limits { return limits{&warn, &crit, low} }

func TestLimitsJudge(t *testing.T) {
	for _, c := range []struct {
		limits limits
		value  float64
		want   state
	}{
		{limits{}, 1e9, ok},
		{limit(10, 20, false), 0, ok},
		{limit(10, 20, false), 10, ok}, // the threshold itself is in order, as in a range
		{limit(10, 20, false), 10.5, warning},
		{limit(10, 20, false), 20, warning},
		{limit(10, 20, false), 20.5, critical},
		{limit(2, 1, true), 3, ok},
		{limit(2, 1, true), 2, ok},
		{limit(2, 1, true), 1, warning},
		{limit(2, 1, true), 0, critical},
	} {
		if got := c.limits.judge(c.value); got != c.want {
			t.Errorf("%v with %q, %q: %v, want %v", c.value, c.limits.text(c.limits.warn), c.limits.text(c.limits.crit), got, c.want)
		}
	}
}

func TestResultLine(t *testing.T) {
	r := &result{check: "lag"}
	r.add(seconds("oldest_pending", 61234567*time.Microsecond, limit(60, 300, false)), "a | b\nc")
	r.add(count("relays", 2, limit(2, 1, true)), "too few")
	r.say("3 pending")
	r.say("0 dead")
	const want = "PULSE LAG WARNING - a / b c; 3 pending, 0 dead | oldest_pending=61.235s;60;300;0 relays=2;2:;1:;0"
	if got := r.line(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var out bytes.Buffer
	c := &console.IO{Out: &out, Err: &out}
	c.SetColor(console.ColorNever, func(string) string { return "" })
	if err := r.print(c); fail.From(err).ExitCode() != 1 || !fail.From(err).Silent || out.String() != want+"\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// What is away is worse than what cannot be known, which is worse than a warning.
func TestResultWorst(t *testing.T) {
	r := &result{check: "dead"}
	for _, c := range []struct {
		err  error
		want state
	}{
		{fail.Usagef("", "no broker given"), unknown},
		{fail.New(fail.Unreachable, "", "cannot reach the broker"), critical},
		{errors.New("odd"), critical},
	} {
		r.blame(warning, "")
		if r.away(c.err); r.state != c.want {
			t.Errorf("after %v: %v, want %v", c.err, r.state, c.want)
		}
	}
}
