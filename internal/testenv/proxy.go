package testenv

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/netfault"
)

// Proxy forwards bytes between clients and a server, until it is told otherwise.
// It is safe for concurrent use and ends with the test.
type Proxy struct{ *netfault.Proxy }

// NewProxy returns a proxy to target, as host:port.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := netfault.Listen(target)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return &Proxy{p}
}

// Through returns a URL of the target with the proxy's address.
func (p *Proxy) Through(t testing.TB, targetURL string) string {
	t.Helper()
	through, err := p.URL(targetURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return through
}
