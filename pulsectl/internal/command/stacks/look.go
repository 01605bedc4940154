package stacks

import (
	"context"

	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// Component is a component of a stack as the command status shows it.
type Component struct{ Name, State, Detail string }

// The states of a component.
const (
	StateOK       = stateOK
	StateDegraded = stateDegraded
	StateDown     = stateDown
	StateNotGiven = stateNotGiven
)

// Look looks at every component, as the command status does.
func Look(ctx context.Context, e *env.Env) []Component {
	var all []Component
	for _, c := range components(ctx, e) {
		all = append(all, Component{c.name, c.state, c.detail})
	}
	return all
}
