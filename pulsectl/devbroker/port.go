package devbroker

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// listenAnywhere listens on a port of host that will still be free after the
// broker was down for a while: it is below the range from which the kernel
// assigns ports to outgoing connections. If there is none, the kernel chooses.
func listenAnywhere(host string) (net.Listener, error) {
	const first, last, tries = 20000, 32000, 50
	end := last
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		var from, to int
		if _, err := fmt.Sscan(string(text), &from, &to); err == nil && from > first {
			end = min(end, from)
		}
	}
	for range tries {
		l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(first+rand.IntN(end-first))))
		if err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}
