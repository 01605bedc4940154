package keeper

import (
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// One request and one answer, as JSON, on each connection to the keeper's
// socket.
type request struct {
	Op    operation
	Kind  service.Kind   // of a server to share or make
	Owner int            // process a private server is removed with
	ID    string         // of a server to act on
	How   service.Manner // of a stop
}

type operation string

const (
	opPing   operation = "ping"
	opShare  operation = "share"  // give the server of this kind that all share
	opMake   operation = "make"   // make a private one
	opStart  operation = "start"  // start it again
	opStop   operation = "stop"   // end it in the manner of How
	opRemove operation = "remove" // end it and delete its data
)

type reply struct {
	PID         int    // of the keeper, in the answer to a ping
	ID          string // of a private server
	Endpoints   service.Endpoints
	Error       string
	Unavailable bool // Error says what is missing on this machine
}

// answerLimit is how long a request may take: an image may have to be
// fetched.
const answerLimit = 7 * time.Minute

// ask sends one request. It uses no goroutine, so that leak checks of tests
// have nothing to find.
func ask(socket string, req request) (reply, error) {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return reply{}, err
	}
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return reply{}, fmt.Errorf("ask keeper to %s: %w", req.Op, err)
	}
	var rep reply
	if err := json.NewDecoder(conn).Decode(&rep); err != nil {
		return reply{}, fmt.Errorf("keeper's answer to %s: %w", req.Op, err)
	}
	switch {
	case rep.Unavailable:
		return rep, unavailableError(rep.Error)
	case rep.Error != "":
		return rep, fmt.Errorf("%s server: %s", req.Op, rep.Error)
	}
	return rep, nil
}

// unavailableError carries the text of a service.ErrUnavailable over the
// socket.
type unavailableError string

func (e unavailableError) Error() string { return string(e) }

func (e unavailableError) Is(target error) bool { return target == service.ErrUnavailable }
