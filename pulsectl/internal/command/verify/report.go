package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// verified is a report and what to show of it.
type verified struct {
	*reconcile.Report
	only []reconcile.Kind // empty: all
}

func (v verified) findings() []*reconcile.Finding {
	all := v.Findings()
	if len(v.only) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(f *reconcile.Finding) bool { return !slices.Contains(v.only, f.Kind) })
}

func number(key string, tone console.Tone, n func(r verified) int) console.Column[verified] {
	col := console.Column[verified]{Key: key, Value: func(r verified) any { return n(r) }}
	if tone != console.Plain {
		col.Tone = func(r verified) console.Tone {
			if n(r) > 0 {
				return tone
			}
			return console.Plain
		}
	}
	return col
}

var reportColumns = []console.Column[verified]{
	number("orders", console.Plain, func(r verified) int { return r.Orders }),
	number("outbox", console.Plain, func(r verified) int { return r.Outbox }),
	number("published", console.Plain, func(r verified) int { return r.Published }),
	number("pending", console.Warn, func(r verified) int { return r.Pending }),
	number("dead", console.Warn, func(r verified) int { return r.Dead }),
	number("discarded", console.Plain, func(r verified) int { return r.Discarded }),
	number("inFlight", console.Plain, func(r verified) int { return r.InFlight }),
	number("applied", console.Plain, func(r verified) int { return r.Applied }),
	number("effects", console.Plain, func(r verified) int { return r.Effects }),
	number("deadLettered", console.Warn, func(r verified) int { return r.DeadLettered }),
	number("lost", console.Bad, func(r verified) int { return r.Count(reconcile.Lost) }),
	number("duplicated", console.Bad, func(r verified) int { return r.Duplicated() }),
	number("foreign", console.Bad, func(r verified) int { return r.Count(reconcile.Foreign) }),
	{Key: "verdict", Value: func(r verified) any { return r.Verdict() }, Wrap: true, Tone: func(r verified) console.Tone {
		switch {
		case !r.OK():
			return console.Bad
		case !r.Settled():
			return console.Warn
		}
		return console.Good
	}},
	{Key: "compared", Value: func(r verified) any { return r.Compared }, Only: true},
	{Key: "missing", Value: func(r verified) any { return r.Missing }, Only: true},
	{Key: "unappliedDeadLetters", Value: func(r verified) any { return r.UnappliedDeadLetters }, Only: true},
	{Key: "delayed", Value: func(r verified) any { return r.Delayed }, Only: true},
	{Key: "newer", Value: func(r verified) any { return r.Newer }, Only: true},
	{Key: "old", Value: func(r verified) any { return r.Old }, Only: true},
	{Key: "cutAt", Value: func(r verified) any { return r.CutAt }, Only: true},
	{Key: "waiting", Value: func(r verified) any { return list(r.Waiting) }, Only: true},
	{Key: "notes", Value: func(r verified) any { return list(r.Notes) }, Only: true},
	{Key: "topics", Value: func(r verified) any { return topicCounts(r.Topics) }, Only: true},
	{Key: "findings", Value: func(r verified) any { return findingsJSON(r.findings()) }, Only: true},
}

// list returns texts, or an empty list for nil, so that JSON never has null.
func list(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

type topicJSON struct {
	Topic     string `json:"topic"`
	Compared  bool   `json:"compared"`
	Outbox    int    `json:"outbox"`
	Published int    `json:"published"`
	Pending   int    `json:"pending"`
	Dead      int    `json:"dead"`
	Discarded int    `json:"discarded"`
	Newer     int    `json:"newer"`
	Applied   int    `json:"applied"`
	Lost      int    `json:"lost"`
}

func topicCounts(counts []reconcile.TopicCounts) []topicJSON {
	topics := make([]topicJSON, len(counts))
	for i, c := range counts {
		topics[i] = topicJSON(c)
	}
	return topics
}

// findingsJSON streams all ids, of which there may be very many.
type findingsJSON []*reconcile.Finding

func (all findingsJSON) WriteJSON(w io.Writer) error {
	fmt.Fprint(w, "[")
	for i, f := range all {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, `{"kind":%q,"meaning":%q,"count":%d,"ids":[`, f.Kind, f.Meaning(), f.Count())
		separator := ""
		for id, err := range f.IDs() {
			if err != nil {
				return err
			}
			raw, err := json.Marshal(id)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s%s", separator, raw)
			separator = ","
		}
		fmt.Fprint(w, "]}")
	}
	_, err := fmt.Fprint(w, "]")
	return err
}

// renderReport prints the counts and the findings: for a person the first ids
// of each finding, for a program all of them.
func renderReport(e *env.Env, r *reconcile.Report, only []reconcile.Kind) error {
	v := verified{r, only}
	switch e.IO.Resolved() {
	case console.Name:
		for _, f := range v.findings() {
			for id, err := range f.IDs() {
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintln(e.IO.Out, id); err != nil {
					return err
				}
			}
		}
		return nil
	case console.JSON, console.JSONL:
		return console.RenderOne(e.IO, reportColumns, v)
	case console.TSV:
		if err := console.RenderOne(e.IO, reportColumns, v); err != nil {
			return err
		}
		for _, f := range v.findings() {
			for id, err := range f.IDs() {
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(e.IO.Out, "finding\t%s\t%s\n", f.Kind, id); err != nil {
					return err
				}
			}
		}
	default:
		if err := console.RenderOne(e.IO, reportColumns, v); err != nil {
			return err
		}
		for _, f := range v.findings() {
			showFinding(e, f)
		}
	}
	for _, note := range r.Notes {
		e.IO.Notef("%s", note)
	}
	return nil
}

func showFinding(e *env.Env, f *reconcile.Finding) {
	e.IO.Println("")
	e.IO.Para(e.IO.Paint(console.Bad, string(f.Kind))+"  ", fmt.Sprintf("%s: %s", reconcile.Thousands(f.Count()), f.Meaning()))
	first := f.First(shownIDs)
	for _, id := range first {
		e.IO.Println("  " + id)
	}
	if more := f.Count() - len(first); more > 0 {
		e.IO.Para("  ", fmt.Sprintf("and %s more: pulsectl verify -q --only %s", reconcile.Thousands(more), f.Kind))
	}
}

// verdictError returns the error for a report that is not ok. Findings are
// certain, even if something else is not settled.
func verdictError(r *reconcile.Report, timeout time.Duration) error {
	unsettled := strings.Join(r.Waiting, "; ")
	if r.OK() {
		if r.Settled() {
			return nil
		}
		return fail.New(fail.Timeout, "see: pulsectl status, pulsectl outbox ls --status pending", "not settled after %s: %s", clip.Duration(timeout), unsettled)
	}
	message := found(r)
	if !r.Settled() {
		message += "; the rest is not settled: " + unsettled
	}
	hint := "all ids: pulsectl verify -q"
	switch {
	case r.Count(reconcile.Lost) > 0:
		hint = "to publish the lost events again: pulsectl verify -q --only lost | pulsectl replay -"
	case r.Count(reconcile.Conflicting) > 0:
		hint = "to apply the original messages: undo the effect of each and delete its inbox row, then pulsectl verify -q --only lost | pulsectl replay -"
	}
	return fail.New(fail.General, hint, "%s", message)
}

// found describes the findings with their counts.
func found(r *reconcile.Report) string {
	var parts []string
	for _, f := range r.Findings() {
		n := f.Count()
		if f.Kind == reconcile.Duplicated {
			n = f.Surplus
		}
		words := f.Words()
		if n == 1 {
			words = strings.Replace(words, "s ", " ", 1) // effects without order
		}
		parts = append(parts, reconcile.Thousands(n)+" "+words)
	}
	return strings.Join(parts, ", ")
}

// interruptedVerify says how far the comparison got.
func interruptedVerify(p *reconcile.Progress, r *reconcile.Report) error {
	text := fmt.Sprintf("interrupted; %s events were compared", reconcile.Thousands(p.Looked()))
	if r != nil {
		if r.Missing > 0 {
			text += fmt.Sprintf(", %s are still missing", reconcile.Thousands(r.Missing))
		}
		if r.Pending > 0 {
			text += fmt.Sprintf(", %s still pending", reconcile.Thousands(r.Pending))
		}
		if !r.OK() {
			text += ", found so far: " + found(r)
		}
		if len(r.Waiting) > 0 {
			text += "; it was waiting for " + strings.Join(r.Waiting, "; ")
		}
	}
	return fail.New(fail.Interrupted, "", "%s", text)
}

// explainVerify explains why the two sides cannot be compared, and lists the
// existing names.
func explainVerify(ctx context.Context, e *env.Env, l reconcile.Comparison, err error) error {
	if missing, ok := errors.AsType[*reconcile.NameError](err); ok {
		have := missing.Have
		if q, ok := l.Broker.(queues.Reader); ok && missing.What == "queue" {
			have = q.Existing(ctx, append([]string{defaultTopic}, have...))
		}
		return fail.New(fail.NotFound, suggestion(missing, have), "%v", missing)
	}
	switch {
	case errors.Is(err, reconcile.ErrNothing):
		return fail.New(fail.NotFound, "see what exists: pulsectl outbox stats, pulsectl inbox ls", "%v", err)
	case errors.Is(err, outbox.ErrSchema), errors.Is(err, inbox.ErrSchema):
		if text := reconcile.Elsewhere(ctx, l.OutboxDB, l.InboxDB); text != "" {
			return &fail.Error{Kind: fail.Schema, Message: "cannot verify", Cause: err, Hint: text}
		}
	}
	return fail.Wrap("cannot verify", err)
}

// suggestion lists the existing names for a mistyped one, the most similar
// first.
func suggestion(e *reconcile.NameError, have []string) string {
	name := e.Name
	if i := strings.LastIndex(name, "."); i >= 0 && strings.Contains(e.Why, "column") {
		name = name[i+1:]
	}
	const shown = 12
	text := "there are none"
	if e.What == "queue" && len(have) == 0 {
		text = "a consumer declares its queue when it first runs; give another with --queue"
	}
	if len(have) > 0 {
		text = "existing: " + strings.Join(have[:min(shown, len(have))], ", ")
		if more := len(have) - shown; more > 0 {
			text += fmt.Sprintf(" and %s more", reconcile.Thousands(more))
		}
	}
	if near := env.Closest(name, have); near != "" && near != e.Name {
		text = "did you mean: " + near + "; " + text
	}
	return text
}
