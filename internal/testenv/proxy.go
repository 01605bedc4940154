package testenv

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between clients and a server and hands on bytes, until it is
// told to do otherwise. It is safe for concurrent use and ends with the test.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
	gate   chan struct{} // closed while bytes pass
	closed bool
}

// NewProxy returns a proxy to target, as host:port.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	p := &Proxy{listener: listener, target: target, conns: make(map[net.Conn]bool), gate: make(chan struct{})}
	close(p.gate)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = p.listener.Close()
		p.Thaw()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Through returns a URL of the target with the proxy's address.
func (p *Proxy) Through(t testing.TB, targetURL string) string {
	t.Helper()
	u, err := url.Parse(targetURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	u.Host = p.Addr()
	return u.String()
}

// Addr is the proxy's own address.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Retarget leads new connections to another server. Those that are open stay
// where they are, as behind a name that is moved.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Freeze lets no byte pass in either direction, on no connection, until Thaw:
// a network that is cut, or a server that stands still. Connections can still
// be made.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// Thaw ends Freeze; what waited is handed on.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// Cut breaks all connections; new ones can be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, closed := p.target, p.closed
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil || closed {
			_ = client.Close()
			if server != nil {
				_ = server.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(client, server) })
		p.wg.Go(func() { p.pass(server, client) })
	}
}

// pass hands on what from says, and ends both with either.
func (p *Proxy) pass(from, to net.Conn) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		delete(p.conns, to)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		<-gate
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
