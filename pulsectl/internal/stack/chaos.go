package stack

import (
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// ChangeLimit limits one change of a server.
const ChangeLimit = 2 * time.Minute

// Server is a server that chaos can stop and start.
type Server int

// The servers, in the order in which they are started.
const (
	Database Server = iota
	Broker
)

var servers = []Server{Database, Broker}

// pick returns the first argument for the database, the second for the broker.
func (s Server) pick(database, broker string) string {
	if s == Database {
		return database
	}
	return broker
}

func (s Server) word() string    { return s.pick("db", "broker") } // in names of commands
func (s Server) service() string { return s.pick(databaseService, brokerService) }
func (s Server) unit() string    { return s.pick("postgresql", "rabbitmq-server") } // for examples

// String returns the server's name in messages.
func (s Server) String() string { return s.pick("database", "broker") }

// Action is an operation on a server.
type Action int

// The actions.
const (
	Stop Action = iota
	Start
	Restart
)

// String returns the action as a verb.
func (a Action) String() string { return [...]string{"stop", "start", "restart"}[a] }

// Change is an action on a server.
type Change struct {
	Server Server
	Action Action
}

// Name returns the command that makes the change, such as broker-down.
func (c Change) Name() string {
	return c.Server.word() + [...]string{"-down", "-up", "-restart"}[c.Action]
}

// State returns the state of the server afterwards, for results.
func (c Change) State() string {
	if c.Action == Stop {
		return "stopped"
	}
	return "started"
}

// Flag returns the flag for the user's own command.
func (c Change) Flag() string { return c.Action.String() + "-cmd" }

// Variable returns the environment variable for the same.
func (c Change) Variable() string {
	return "PULSE_" + c.Server.pick("DB", "BROKER") + [...]string{"_STOP", "_START", "_RESTART"}[c.Action] + "_CMD"
}

// ChangeOptions are options of a change.
type ChangeOptions struct {
	Console *console.IO
	// Command returns the user's own command; empty: none is set.
	Command func() (string, error)
}

func (c Change) waitedFor() string {
	return fmt.Sprintf("the %s to %s", c.Server, c.Action)
}

// Command returns the user's own command for a change, as recorded for a stack.
func (s State) Command(c Change) string {
	switch c {
	case Change{Broker, Stop}:
		return s.BrokerStopCmd
	case Change{Broker, Start}:
		return s.BrokerStartCmd
	case Change{Database, Stop}:
		return s.DBStopCmd
	case Change{Database, Start}:
		return s.DBStartCmd
	}
	return ""
}

// errNotEmbedded says that faults inside a process need an embedded stack.
func errNotEmbedded(s State) error {
	return fail.Usagef("change to one: pulsectl down, then: pulsectl up", "this needs a running embedded stack; this one is %s", s.Stack)
}
