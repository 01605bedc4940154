// Package host returns facts about this machine to the tests and to the program
// that keeps their servers: free ports, and whether a process runs.
package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// Ports are below the range that the kernel assigns. Otherwise a stopped
// server's port might be assigned to an outgoing connection, and a client that
// reconnects could even connect to itself.
const (
	firstPort = 20000
	lastPort  = 32000
)

// FreePort returns an unused TCP port of 127.0.0.1.
func FreePort() (int, error) {
	low := lastPort
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		var from, to int
		if _, err := fmt.Sscan(string(text), &from, &to); err == nil && from > firstPort {
			low = min(low, from)
		}
	}
	var problems []error
	for range 50 {
		port := firstPort + rand.IntN(low-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", firstPort, low, errors.Join(problems...))
}

// FreePorts returns n different ones.
func FreePorts(n int) ([]int, error) {
	seen := map[int]bool{}
	var ports []int
	for len(ports) < n {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		if !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}
