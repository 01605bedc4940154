package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// PortTakenError says that another process listens where a part of the stack should.
type PortTakenError struct {
	Part   string // such as "orders service"
	Addr   string
	Holder string // who has it; empty where that cannot be known
	// Flag of up, or else the environment variable, that names another one.
	Flag, Variable string
	Err            error
}

func (e *PortTakenError) Error() string {
	text := fmt.Sprintf("%s: %s is taken", e.Part, e.Addr)
	if e.Holder != "" {
		text += " by " + e.Holder
	}
	return text
}

func (e *PortTakenError) Unwrap() error { return e.Err }

// explainPort makes a PortTakenError of an error of listening, where it is one.
func explainPort(part, flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &PortTakenError{Part: part, Flag: flag, Addr: addr, Holder: holder(addr), Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "listen" {
		return &fail.Error{Kind: fail.Usage, Message: part + ": cannot listen at " + addr, Cause: e.Err,
			Hint: "give an address of this machine that is yours to take: pulsectl up --" + flag + " 127.0.0.1:0"}
	}
	return fmt.Errorf("%s: %w", part, err)
}

// lookUpLimit bounds the search for the holder of a port.
const lookUpLimit = 2 * time.Second

// holder names the process that listens on addr's port. Another user's
// process may not tell: then it is "".
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
