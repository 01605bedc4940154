package devbroker_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// TestNewTestPortRange: an outgoing connection that got the port while the broker is down would keep it down.
func TestNewTestPortRange(t *testing.T) {
	t.Parallel()
	var from, to int
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip("needs /proc to know which ports the kernel gives to outgoing connections")
	}
	if _, err := fmt.Sscan(string(text), &from, &to); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, text, err := net.SplitHostPort(devbroker.NewTest(t).Addr())
		if err != nil {
			t.Fatal(err)
		}
		if port, err := strconv.Atoi(text); err != nil || port >= from && port <= to {
			t.Errorf("port %s, %v; the kernel gives out %d to %d", text, err, from, to)
		}
	}
}
