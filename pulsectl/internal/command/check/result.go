package check

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// state is the result of a check; its number is the exit code, as monitoring
// plugins have it.
type state int

const (
	ok state = iota
	warning
	critical
	unknown
)

func (s state) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[s] }

// worse returns the worse of two states. An unknown one may be critical.
func (s state) worse(other state) state {
	rank := [...]int{ok: 0, warning: 1, unknown: 2, critical: 3}
	if rank[other] > rank[s] {
		return other
	}
	return s
}

// limits are the thresholds of a metric. It is in order up to the threshold
// itself, or down to it if low values are bad. nil: there is none.
type limits struct {
	warn, crit *float64
	low        bool
}

func (l limits) judge(value float64) state {
	exceeds := func(limit *float64) bool {
		return limit != nil && (!l.low && value > *limit || l.low && value < *limit)
	}
	switch {
	case exceeds(l.crit):
		return critical
	case exceeds(l.warn):
		return warning
	}
	return ok
}

// text formats a threshold as a range of the plugin guidelines: the values that
// are in order.
func (l limits) text(limit *float64) string {
	switch {
	case limit == nil:
		return ""
	case l.low:
		return number(*limit) + ":"
	}
	return number(*limit)
}

// metric is one value of the performance data.
type metric struct {
	name   string
	value  float64
	unit   string // s, or empty for a number of things
	limits limits
}

func count(name string, n int64, l limits) metric { return metric{name, float64(n), "", l} }

func seconds(name string, d time.Duration, l limits) metric {
	return metric{name, d.Seconds(), "s", l}
}

// String formats the metric as performance data: name, value, thresholds, least
// value.
func (m metric) String() string {
	return strings.TrimRight(fmt.Sprintf("%s=%s%s;%s;%s;0", m.name, number(m.value), m.unit, m.limits.text(m.limits.warn), m.limits.text(m.limits.crit)), ";")
}

// MarshalJSON implements json.Marshaler.
func (m metric) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name  string   `json:"name"`
		Value float64  `json:"value"`
		Unit  string   `json:"unit"`
		Warn  *float64 `json:"warn"`
		Crit  *float64 `json:"crit"`
	}{m.name, round(m.value), m.unit, m.limits.warn, m.limits.crit})
}

func round(n float64) float64 { return math.Round(n*1000) / 1000 }

func number(n float64) string { return strconv.FormatFloat(round(n), 'f', -1, 64) }

// result is what a check found.
type result struct {
	check   string
	state   state
	reasons []string // why it is not OK
	detail  string
	metrics []metric
}

// add adds a metric and judges it. reason says why it is not in order.
func (r *result) add(m metric, reason string) {
	r.metrics = append(r.metrics, m)
	if s := m.limits.judge(m.value); s != ok {
		r.blame(s, reason)
	}
}

// blame makes the result at least as bad as s.
func (r *result) blame(s state, reason string) {
	r.state = r.state.worse(s)
	if reason != "" {
		r.reasons = append(r.reasons, reason)
	}
}

// say adds to the detail.
func (r *result) say(text string) {
	if r.detail != "" {
		r.detail += ", "
	}
	r.detail += text
}

// away adds the error of a server that was asked: what cannot be reached, or
// lacks its tables, is critical. Anything else, such as a missing setting,
// leaves the state unknown.
func (r *result) away(err error) {
	f := fail.From(err)
	switch f.Kind {
	case fail.Unreachable, fail.Timeout, fail.Schema, fail.Interrupted:
		r.blame(critical, f.Error())
	default:
		r.blame(unknown, f.Error())
	}
}

// text returns the reasons and the detail on one line, without the character
// that separates performance data.
func (r *result) text() string {
	all := r.reasons
	if r.detail != "" {
		all = append(all[:len(all):len(all)], r.detail)
	}
	text := strings.Join(strings.Fields(strings.Join(all, "; ")), " ")
	return strings.ReplaceAll(text, "|", "/")
}

// line returns the result as monitoring plugins print it.
func (r *result) line() string {
	line := fmt.Sprintf("PULSE %s %s - %s", strings.ToUpper(r.check), r.state, r.text())
	for i, m := range r.metrics {
		if i == 0 {
			line += " |"
		}
		line += " " + m.String()
	}
	return line
}

var columns = []console.Column[*result]{
	{Key: "check", Value: func(r *result) any { return r.check }},
	{Key: "state", Value: func(r *result) any { return strings.ToLower(r.state.String()) }, ID: true},
	{Key: "detail", Value: func(r *result) any { return r.text() }},
	{Key: "metrics", Value: func(r *result) any {
		if r.metrics == nil {
			return []metric{}
		}
		return r.metrics
	}},
}

// print writes the result, as a line unless it is for a program, and returns the
// error with its exit code.
func (r *result) print(out *console.IO) error {
	if out.Structured() {
		if err := console.RenderOne(out, columns, r); err != nil {
			return err
		}
	} else {
		tone := [...]console.Tone{ok: console.Good, warning: console.Warn, critical: console.Bad, unknown: console.Warn}[r.state]
		before, after, _ := strings.Cut(r.line(), r.state.String())
		out.Println(before + out.Paint(tone, r.state.String()) + after)
	}
	if r.state == ok {
		return nil
	}
	return &fail.Error{Kind: fail.General, Silent: true, Code: int(r.state), Message: r.text()}
}

// Failed reports a command line of check that was not understood, or any other
// error that kept the check from being made: the state is unknown, and the exit
// code 3. Other errors are returned as they are.
func Failed(out *console.IO, f *fail.Error) *fail.Error {
	if f.Silent {
		return f
	}
	r := &result{check: "check", state: unknown, reasons: []string{f.Error()}}
	if f.Hint != "" {
		r.detail = f.Hint
	}
	return fail.From(r.print(out))
}
