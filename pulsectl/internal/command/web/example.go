package web

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/page"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// example is the running stack as the page breaks it.
type example struct{ again func() *env.Env }

func newExample(again func() *env.Env) page.Stack { return example{again} }

// The names of changes, as in chaos.
var (
	brokerStop    = stack.Change{Server: stack.Broker, Action: stack.Stop}
	brokerRestart = stack.Change{Server: stack.Broker, Action: stack.Restart}
)

// Acts implements page.Stack: an embedded broker can be given any fault.
func (x example) Acts() []page.Act {
	s, err := x.again().Running()
	if err != nil || s.Stack != stack.Embedded {
		return nil
	}
	acts := []page.Act{{Name: brokerStop.Name(), Usage: "stop the broker"}, {Name: brokerRestart.Name(), Usage: "stop the broker and start it again", Once: true}}
	for _, f := range stack.Faults() {
		acts = append(acts, page.Act{Name: f.Name, Usage: f.Usage})
	}
	return acts
}

// Faults implements page.Stack.
func (x example) Faults(ctx context.Context) ([]page.Fault, error) {
	s, err := x.again().Running()
	if err != nil || s.Stack != stack.Embedded {
		return nil, err
	}
	active, err := s.Driver().Faults(ctx, s)
	if err != nil {
		return nil, err
	}
	names := map[devbroker.FaultKind]string{devbroker.FaultDown: brokerStop.Name()}
	for _, f := range stack.Faults() {
		names[f.Kind] = f.Name
	}
	var faults []page.Fault
	for _, f := range active {
		name := names[f.Kind]
		if name == "" {
			name = string(f.Kind)
		}
		faults = append(faults, page.Fault{Name: name, Since: f.Since})
	}
	return faults, nil
}

// Begin implements page.Stack.
func (x example) Begin(ctx context.Context, name string) error {
	return x.do(ctx, name, stack.Stop, func(s stack.State, f stack.Fault) error { return f.Begin(ctx, s, f.Delay, 0) })
}

// End implements page.Stack.
func (x example) End(ctx context.Context, name string) error {
	return x.do(ctx, name, stack.Start, func(s stack.State, f stack.Fault) error { return f.End(ctx, s) })
}

func (x example) do(ctx context.Context, name string, action stack.Action, with func(stack.State, stack.Fault) error) error {
	e := x.again()
	s, err := e.Running()
	if err != nil {
		return fail.Wrap("cannot find the stack", err)
	}
	switch name {
	case brokerStop.Name():
		return changed(ctx, e, s, stack.Change{Server: stack.Broker, Action: action})
	case brokerRestart.Name():
		return changed(ctx, e, s, brokerRestart)
	}
	for _, f := range stack.Faults() {
		if f.Name == name {
			return with(s, f)
		}
	}
	return fail.Usagef("", "there is no fault %q", name)
}

func changed(ctx context.Context, e *env.Env, s stack.State, c stack.Change) error {
	_, err := s.Driver().Change(ctx, s, c, stack.ChangeOptions{Console: e.IO, Command: func() (string, error) { return s.Command(c), nil }})
	return err
}

// PlaceOrder implements page.Stack.
func (x example) PlaceOrder(ctx context.Context, customer, amount string) (string, error) {
	if _, err := strconv.ParseFloat(amount, 64); err != nil || !json.Valid([]byte(amount)) {
		return "", fail.Usagef("for example: 77.5", "amount: %q is not a number", amount)
	}
	r, err := messages.PlaceOrder(ctx, x.again(), messages.NewOrder{Customer: customer, Amount: amount})
	return r.EventID, err
}
