// Command server keeps the real servers that tests share: PostgreSQL and
// RabbitMQ, in containers or from the binaries on this machine. Package testenv
// builds and starts it; it has no other users.
//
//	server keep DIRECTORY                       own servers until no process uses them
//	server control SOCKET ID OPERATION [MANNER] start or stop a private server; with
//	                                            eval the last is an expression
//
// It is a separate module, so that its dependencies are not those of the
// libraries' tests.
package main

import (
	"fmt"
	"os"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "keep":
		return keep(args[1])
	case (len(args) == 4 || len(args) == 5) && args[0] == "control":
		req := protocol.Request{ID: args[2], Op: protocol.Operation(args[3])}
		if len(args) == 5 && req.Op == protocol.Eval {
			req.Text = args[4]
		} else if len(args) == 5 {
			req.How = protocol.Manner(args[4])
		}
		_, err := protocol.Ask(args[1], req)
		return err
	}
	return fmt.Errorf("usage: server keep DIRECTORY | server control SOCKET ID OPERATION [MANNER]")
}
