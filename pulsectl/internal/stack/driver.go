package stack

import (
	"context"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

// Kind names a way to run the example services.
type Kind string

// The kinds.
const (
	// Embedded brings SQLite files and a broker along, all in one process. For
	// development.
	Embedded Kind = "embedded"
	// External runs on a PostgreSQL and a RabbitMQ given by URL.
	External Kind = "external"
	// Compose runs everything in containers, which need no pulsectl to go on.
	Compose Kind = "compose"
)

// Driver runs stacks of one kind: what depends on the kind is asked of it and
// stands in its file. Errors that a user can do something about are fail.Errors.
type Driver interface {
	Kind() Kind
	// Detached reports whether a stack runs without a process of ours, so that
	// its note is believed by itself and Up returns while it runs.
	Detached() bool

	// Configure completes cfg with what this kind needs, and returns all that is
	// wrong with it. services is called where the servers are the user's own.
	Configure(cfg *Config, services func() (Services, []error)) []error
	// Up runs a stack, until ctx ends unless it is Detached, and tells ready once
	// it answers.
	Up(ctx context.Context, cfg Config, ready func(State)) error
	// Down ends a stack.
	Down(ctx context.Context, s State, o DownOptions) error

	// Describe tells a person which stack it is.
	Describe(s State) Description
	// Containers lists those a stack consists of; none where it runs in a process
	// of ours. It is an error that none are left.
	Containers(ctx context.Context, s State) ([]compose.Container, error)

	// Change stops, starts or restarts a server and returns the command that did
	// it, if one did.
	Change(ctx context.Context, s State, c Change, o ChangeOptions) (command string, err error)
	// Restart lists the changes that restart the broker.
	Restart() []Change
	// Control is where the broker is told to misbehave, if it can be told.
	Control(s State) (control.Client, error)
	// Faults lists what is broken.
	Faults(ctx context.Context, s State) ([]control.Fault, error)
	// Mend ends all that is broken.
	Mend(ctx context.Context, s State, out *console.IO) error
}

// Description is what a person is told of a stack.
type Description struct {
	Name    string // which one it is, such as "external, process 42"
	Status  string // the same, with the time since which it is up
	Place   string // where it runs, such as "process 42"
	Try     string // stands before commands to try
	Stop    string // how to stop it
	Warning string // what it is not meant for; empty: nothing to warn of
}

// DownOptions say how to end a stack.
type DownOptions struct {
	Dir     string // of the state file; empty: there is none
	Volumes bool   // delete the data of containers as well
	Timeout time.Duration
	Console *console.IO
	// Confirm asks before data is deleted. Nil: that is confirmed already.
	Confirm func(question string) error
}

var drivers = []Driver{embedded, composed, external}

// Drivers lists them all, the default first.
func Drivers() []Driver { return slices.Clone(drivers) }

// DriverOf returns the driver of a kind, and false where there is none.
func DriverOf(kind Kind) (Driver, bool) {
	i := slices.IndexFunc(drivers, func(d Driver) bool { return d.Kind() == kind })
	if i < 0 {
		return nil, false
	}
	return drivers[i], true
}

// Driver returns the stack's driver. A stack of no known kind is treated as an
// external one: nothing of it is ours.
func (s State) Driver() Driver {
	if d, known := DriverOf(s.Stack); known {
		return d
	}
	return external
}
