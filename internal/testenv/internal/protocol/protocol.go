// Package protocol is the protocol between the tests and the program that keeps
// their servers: one request and one reply, as JSON, on each connection to a
// Unix socket. The program is a separate module, ../../server, so that its
// dependencies for running containers are not those of the tests.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Version is part of the name of the shared directory: programs built from
// other versions have their own keeper.
const Version = "4"

// Kind is a kind of service.
type Kind string

const (
	Postgres Kind = "postgres"
	RabbitMQ Kind = "rabbitmq"
	// ManagedRabbitMQ is RabbitMQ with its management API. That creates virtual
	// hosts in milliseconds, but takes five seconds longer to stop.
	ManagedRabbitMQ Kind = "rabbitmq-management"
)

// Kinds lists all kinds.
var Kinds = []Kind{Postgres, RabbitMQ, ManagedRabbitMQ}

// Manner is a way to stop a server.
type Manner string

const (
	// Graceful lets the server save its state: PostgreSQL's fast shutdown,
	// RabbitMQ's ordinary stop.
	Graceful Manner = "stop"
	// Immediate is PostgreSQL's immediate shutdown: no checkpoint, recovery at
	// the next start. RabbitMQ has none.
	Immediate Manner = "stop-immediate"
	// Kill is SIGKILL to every process of the server.
	Kill Manner = "kill"
)

// Variables that select the sources of servers. Processes with other values
// have another keeper.
const (
	PostgresImageVariable = "PULSE_TEST_POSTGRES_IMAGE"
	RabbitMQImageVariable = "PULSE_TEST_RABBITMQ_IMAGE"
	// PostgresBinVariable names a directory with initdb and postgres, and
	// RabbitMQRootVariable the root of a system in which RabbitMQ is installed, as
	// debootstrap makes it. They win over Docker.
	PostgresBinVariable  = "PULSE_TEST_POSTGRES_BIN"
	RabbitMQRootVariable = "PULSE_TEST_RABBITMQ_ROOT"
	// RequireVariable lists the services that a run requires, separated by
	// commas. With docker in the list servers come from Docker only.
	RequireVariable = "PULSE_TEST_REQUIRE"
)

// ErrUnavailable is matched by errors about a service for which this machine
// has no source; the text says what is missing and how to get it.
var ErrUnavailable = errors.New("not available")

// Endpoints are the addresses of a server. They stay the same over restarts.
type Endpoints struct {
	URL           string   // postgres://… or amqp://…, with administrator's credentials
	ManagementURL string   // http://… of the management API of a ManagedRabbitMQ
	Source        string   // "docker" or "binaries"
	Notes         []string // sources that were tried before, and why they failed
}

// Member is a node of a cluster.
type Member struct {
	ID        string
	Endpoints Endpoints
}

// Operation is an operation of the keeper.
type Operation string

const (
	Ping   Operation = "ping"
	Find   Operation = "find"   // return the source of a server of this kind
	Docker Operation = "docker" // report whether a Docker daemon answers
	Pull   Operation = "pull"   // pull an image that the daemon lacks
	Share  Operation = "share"  // return the shared server of this kind
	Make   Operation = "make"   // start a private one
	Group  Operation = "group"  // start a private RabbitMQ cluster of Nodes nodes
	Start  Operation = "start"  // start it again
	Stop   Operation = "stop"   // stop it in the manner of How
	Eval   Operation = "eval"   // evaluate the Erlang expression in Text in RabbitMQ
	Remove Operation = "remove" // stop it and delete its data
)

// Request is a request to the keeper.
type Request struct {
	Op    Operation
	Kind  Kind   // of a server to find, share or make
	Image string // to pull
	Nodes int    // of a cluster
	Owner int    // the process with which a private server is removed
	ID    string // of a server to act on
	How   Manner // of a stop
	Text  string // to evaluate
}

// Reply is the keeper's reply.
type Reply struct {
	PID         int    // of the keeper, in the answer to a ping
	ID          string // of a private server
	Source      string // that was found
	Endpoints   Endpoints
	Members     []Member // of a cluster
	Text        string   // what an expression has returned, in Erlang's syntax
	Error       string
	Unavailable bool // Error says what is missing on this machine
}

// Socket returns the path of the keeper's socket in the shared directory.
func Socket(dir string) string { return filepath.Join(dir, "socket") }

// AnswerLimit limits a request: it may have to pull an image.
const AnswerLimit = 7 * time.Minute

// Ask sends one request. The error matches ErrUnavailable if the reply says so.
// It starts no goroutine, so that leak checks of tests find none.
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
