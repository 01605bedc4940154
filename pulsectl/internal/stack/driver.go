package stack

import (
	"context"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

// Kind is a way to run the example services.
type Kind string

// The kinds.
const (
	// Embedded runs everything in one process, with SQLite files and its own
	// broker. For development.
	Embedded Kind = "embedded"
	// External uses a PostgreSQL and a RabbitMQ given by URL.
	External Kind = "external"
	// Compose runs everything in containers, which do not need pulsectl to keep
	// running.
	Compose Kind = "compose"
)

// Driver runs stacks of one kind. Errors that a user can act on are
// fail.Errors.
type Driver interface {
	Kind() Kind
	// Detached reports whether a stack runs without a process of pulsectl: then
	// its record is valid by itself, and Up returns while it runs.
	Detached() bool

	// Configure completes cfg for this kind, and returns all its problems.
	// services is called if the servers are the user's own.
	Configure(cfg *Config, services func() (Services, []error)) []error
	// Up runs a stack, until ctx ends unless it is Detached, and calls ready
	// once it answers.
	Up(ctx context.Context, cfg Config, ready func(State)) error
	// Down stops a stack.
	Down(ctx context.Context, s State, o DownOptions) error

	// Describe returns texts about the stack for people.
	Describe(s State) Description
	// Containers lists the containers of a stack; none if it runs in a process
	// of pulsectl. It is an error if none are left.
	Containers(ctx context.Context, s State) ([]compose.Container, error)

	// Change stops, starts or restarts a server and returns the command that did
	// it, if one did.
	Change(ctx context.Context, s State, c Change, o ChangeOptions) (command string, err error)
	// Restart lists the changes that restart the broker.
	Restart() []Change
	// Control returns the endpoint for faults of the broker, if there is one.
	Control(s State) (control.Client, error)
	// Faults lists the active faults.
	Faults(ctx context.Context, s State) ([]control.Fault, error)
	// Mend clears all faults.
	Mend(ctx context.Context, s State, out *console.IO) error
}

// Description is a set of texts about a stack.
type Description struct {
	Name    string // such as "external, process 42"
	Status  string // the same, with its start time
	Place   string // where it runs, such as "process 42"
	Try     string // introduces commands to try
	Stop    string // how to stop the stack
	Warning string // what it is not meant for; empty: none
}

// DownOptions are options of Down.
type DownOptions struct {
	Dir     string // of the state file; empty: there is none
	Volumes bool   // delete the data of containers as well
	Timeout time.Duration
	Console *console.IO
	// Confirm asks before data is deleted. Nil: already confirmed.
	Confirm func(question string) error
}

var drivers = []Driver{embedded, composed, external}

// Drivers lists all drivers, the default first.
func Drivers() []Driver { return slices.Clone(drivers) }

// DriverOf returns the driver of a kind, and false if there is none.
func DriverOf(kind Kind) (Driver, bool) {
	i := slices.IndexFunc(drivers, func(d Driver) bool { return d.Kind() == kind })
	if i < 0 {
		return nil, false
	}
	return drivers[i], true
}

// Driver returns the stack's driver. A stack of an unknown kind is treated as
// external: pulsectl owns none of it.
func (s State) Driver() Driver {
	if d, known := DriverOf(s.Stack); known {
		return d
	}
	return external
}
