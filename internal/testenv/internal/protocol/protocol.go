// Package protocol is what the tests and the program that keeps their servers
// say to each other: one request and one answer, as JSON, on each connection
// to a Unix socket. The program is a module of its own, ../../server, so that
// what it needs to run containers is no dependency of the tests.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Version is part of the name of the directory where both sides meet: programs
// built from other versions have a keeper of their own.
const Version = "3"

// Kind names a service.
type Kind string

const (
	Postgres Kind = "postgres"
	RabbitMQ Kind = "rabbitmq"
	// ManagedRabbitMQ is RabbitMQ with its management API. That serves to make
	// virtual hosts in milliseconds, but takes five seconds more to stop.
	ManagedRabbitMQ Kind = "rabbitmq-management"
)

// Kinds are all there are.
var Kinds = []Kind{Postgres, RabbitMQ, ManagedRabbitMQ}

// Manner is a way to end a server.
type Manner string

const (
	// Graceful lets the server write down what it has: PostgreSQL's fast
	// shutdown, RabbitMQ's ordinary stop.
	Graceful Manner = "stop"
	// Immediate is PostgreSQL's immediate shutdown: no checkpoint, recovery at
	// the next start. RabbitMQ has no such thing.
	Immediate Manner = "stop-immediate"
	// Kill is SIGKILL to every process of the server.
	Kill Manner = "kill"
)

// Variables that choose where servers come from. Processes with other values
// have another keeper.
const (
	PostgresImageVariable = "PULSE_TEST_POSTGRES_IMAGE"
	RabbitMQImageVariable = "PULSE_TEST_RABBITMQ_IMAGE"
	// RequireVariable lists what a run may not do without, separated by commas.
	// With docker among it no server comes from elsewhere.
	RequireVariable = "PULSE_TEST_REQUIRE"
)

// ErrUnavailable is matched by errors about a service for which this machine
// has no source; the text says what is missing and how to get it.
var ErrUnavailable = errors.New("not available")

// Endpoints say where a server is reached. They stay the same over restarts.
type Endpoints struct {
	URL           string   // postgres://… or amqp://…, with administrator's credentials
	ManagementURL string   // http://… of the management API of a ManagedRabbitMQ
	Source        string   // "docker" or "binaries"
	Notes         []string // sources that were tried before, and why they failed
}

// Operation is what the keeper is asked to do.
type Operation string

const (
	Ping   Operation = "ping"
	Find   Operation = "find"   // say where a server of this kind would come from
	Docker Operation = "docker" // say whether a Docker daemon answers
	Pull   Operation = "pull"   // fetch an image that the daemon lacks
	Share  Operation = "share"  // give the server of this kind that all share
	Make   Operation = "make"   // make a private one
	Start  Operation = "start"  // start it again
	Stop   Operation = "stop"   // end it in the manner of How
	Eval   Operation = "eval"   // have RabbitMQ evaluate the Erlang in Text
	Remove Operation = "remove" // end it and delete its data
)

// Request is one question to the keeper.
type Request struct {
	Op    Operation
	Kind  Kind   // of a server to find, share or make
	Image string // to pull
	Owner int    // process a private server is removed with
	ID    string // of a server to act on
	How   Manner // of a stop
	Text  string // to evaluate
}

// Reply is its answer.
type Reply struct {
	PID         int    // of the keeper, in the answer to a ping
	ID          string // of a private server
	Source      string // that was found
	Endpoints   Endpoints
	Error       string
	Unavailable bool // Error says what is missing on this machine
}

// Socket is the keeper's in the directory where both sides meet.
func Socket(dir string) string { return filepath.Join(dir, "socket") }

// AnswerLimit is how long a request may take: an image may have to be fetched.
const AnswerLimit = 7 * time.Minute

// Ask sends one request. The error matches ErrUnavailable where the answer says
// so. It uses no goroutine, so that leak checks of tests have nothing to find.
func Ask(socket string, req Request) (Reply, error) {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(AnswerLimit)); err != nil {
		return Reply{}, err
	}
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return Reply{}, fmt.Errorf("ask keeper to %s: %w", req.Op, err)
	}
	var rep Reply
	if err := json.NewDecoder(conn).Decode(&rep); err != nil {
		return Reply{}, fmt.Errorf("keeper's answer to %s: %w", req.Op, err)
	}
	switch {
	case rep.Unavailable:
		return rep, unavailableError(rep.Error)
	case rep.Error != "":
		return rep, fmt.Errorf("%s server: %s", req.Op, rep.Error)
	}
	return rep, nil
}

// unavailableError carries the text of an ErrUnavailable over the socket.
type unavailableError string

func (e unavailableError) Error() string { return string(e) }

func (e unavailableError) Is(target error) bool { return target == ErrUnavailable }
