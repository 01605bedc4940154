package stack

import (
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// ChangeLimit bounds one change of a server.
const ChangeLimit = 2 * time.Minute

// Server is one that can be stopped and started on purpose.
type Server int

// The servers, in the order in which they are started.
const (
	Database Server = iota
	Broker
)

var servers = []Server{Database, Broker}

// pick returns the first of the two for the database, the other for the broker.
func (s Server) pick(database, broker string) string {
	if s == Database {
		return database
	}
	return broker
}

func (s Server) word() string    { return s.pick("db", "broker") } // in names of commands
func (s Server) service() string { return s.pick(databaseService, brokerService) }
func (s Server) unit() string    { return s.pick("postgresql", "rabbitmq-server") } // for examples

// String is the server in messages.
func (s Server) String() string { return s.pick("database", "broker") }

// Action is what is done to a server.
type Action int

// The actions.
const (
	Stop Action = iota
	Start
	Restart
)

// String is the action as a verb.
func (a Action) String() string { return [...]string{"stop", "start", "restart"}[a] }

// Change is something done to a server.
type Change struct {
	Server Server
	Action Action
}

// Name is the command that makes the change, such as broker-down.
func (c Change) Name() string {
	return c.Server.word() + [...]string{"-down", "-up", "-restart"}[c.Action]
}

// State is what the server is afterwards, in results.
func (c Change) State() string {
	if c.Action == Stop {
		return "stopped"
	}
	return "started"
}

// Flag names the user's own command for the change.
func (c Change) Flag() string { return c.Action.String() + "-cmd" }

// Variable is the environment variable for the same.
func (c Change) Variable() string {
	return "PULSE_" + c.Server.pick("DB", "BROKER") + [...]string{"_STOP", "_START", "_RESTART"}[c.Action] + "_CMD"
}

// ChangeOptions are what a change may need.
type ChangeOptions struct {
	Console *console.IO
	// Command is the user's own command for it; empty: nobody has given one.
	Command func() (string, error)
}

func (c Change) waitedFor() string {
	return fmt.Sprintf("the %s to %s", c.Server, c.Action)
}

// Command is the user's own command for a change that is noted of a stack.
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

// errNotEmbedded: only the broker of an embedded stack can be told to misbehave.
func errNotEmbedded(s State) error {
	return fail.Usagef("change to one: pulsectl down, then: pulsectl up", "this needs a running embedded stack; this one is %s", s.Stack)
}
