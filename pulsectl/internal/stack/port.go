package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

// PortTakenError says that the address of a component of the stack is in use.
type PortTakenError struct {
	Part   string // such as "orders service"
	Addr   string
	Holder string // the process that uses it; empty: unknown
	// the flag of up, or else the environment variable, that sets another one
	Flag, Variable string
	Err            error
}

func (e *PortTakenError) Error() string {
	text := fmt.Sprintf("%s: %s is in use", e.Part, e.Addr)
	if e.Holder != "" {
		text += " by " + e.Holder
	}
	return text
}

func (e *PortTakenError) Unwrap() error { return e.Err }

// explainPort returns a PortTakenError for an error of listening, if it is one.
func explainPort(part, flag, addr string, err error) error {
	if platform.AddressInUse(err) {
		return &PortTakenError{Part: part, Flag: flag, Addr: addr, Holder: holder(addr), Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "listen" {
		return &fail.Error{Kind: fail.Usage, Message: part + ": cannot listen at " + addr, Cause: e.Err,
			Hint: "use a free address of this machine: pulsectl up --" + flag + " 127.0.0.1:0"}
	}
	return fmt.Errorf("%s: %w", part, err)
}

// lookUpLimit limits the search for the process that uses a port.
const lookUpLimit = 2 * time.Second

// holder names the process that listens on addr's port, or "" if it belongs to
// another user and cannot be read.
func holder(addr string) string {
	_, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpLimit)
	defer cancel()
	conns, err := psnet.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return ""
	}
	for _, c := range conns {
		if c.Status != "LISTEN" || c.Laddr.Port != uint32(port) || c.Pid == 0 {
			continue
		}
		name := "process"
		if p, err := process.NewProcessWithContext(ctx, c.Pid); err == nil {
			if n, err := p.NameWithContext(ctx); err == nil {
				name = n
			}
		}
		return fmt.Sprintf("%s (process %d)", name, c.Pid)
	}
	return ""
}
