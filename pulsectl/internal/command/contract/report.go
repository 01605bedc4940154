package contract

import (
	"encoding/json"
	"fmt"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compat"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/contracts"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func verdict(r contracts.Refusal) string {
	if r.Accepted {
		return "accepted"
	}
	return string(r.Verdict)
}

var refusalColumns = []console.Column[contracts.Refusal]{
	{Key: "contract", Value: func(r contracts.Refusal) any { return r.Contract }, ID: true},
	{Key: "against", Value: func(r contracts.Refusal) any { return r.Against }},
	{Key: "direction", Value: func(r contracts.Refusal) any { return string(r.Direction) }},
	{Key: "verdict", Value: func(r contracts.Refusal) any { return verdict(r) }},
	{Key: "path", Value: func(r contracts.Refusal) any { return r.Path }},
	{Key: "rule", Value: func(r contracts.Refusal) any { return r.Rule }},
	{Key: "problem", Value: func(r contracts.Refusal) any { return r.Problem }},
	{Key: "counterexample", Value: func(r contracts.Refusal) any {
		if r.Counterexample == nil {
			return nil
		}
		return r.Counterexample
	}},
	{Key: "fault", Value: func(r contracts.Refusal) any { return r.Fault }},
}

// report prints the refusals, and fails if there are some that nobody accepts.
func report(e *env.Env, r contracts.Report) error {
	if err := print(e, r); err != nil {
		return err
	}
	if n := r.Refused(); n > 0 {
		return &fail.Error{Kind: fail.General, Silent: true, Message: fmt.Sprintf("%d changes are refused", n)}
	}
	return nil
}

func print(e *env.Env, r contracts.Report) error {
	switch e.IO.Resolved() {
	case console.Table, console.Wide:
	default:
		return console.RenderList(e.IO, console.List[contracts.Refusal]{Columns: refusalColumns, Items: r.Refusals})
	}
	for _, refusal := range r.Refusals {
		tone := console.Bad
		if refusal.Accepted {
			tone = console.Warn
		}
		e.IO.Println(fmt.Sprintf("%s  %s against %s, %s", e.IO.Paint(tone, verdict(refusal)), refusal.Contract, refusal.Against, refusal.Direction))
		e.IO.Para("  path            ", refusal.Path)
		e.IO.Para("  rule            ", refusal.Rule+": "+refusal.Problem)
		switch refusal.Verdict {
		case compat.Breaking:
			e.IO.Para("  counterexample  ", string(json.RawMessage(refusal.Counterexample)))
			if refusal.Fault != "" {
				e.IO.Para("  readers say     ", refusal.Fault)
			}
		case compat.Unproven:
			e.IO.Para("  counterexample  ", "none was found, and there is no proof that there is none")
		}
	}
	e.IO.Println(fmt.Sprintf("%d compared, %d refused", r.Compared, r.Refused()))
	return nil
}
