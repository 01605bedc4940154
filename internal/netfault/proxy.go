// Package netfault is a TCP proxy that misbehaves as networks do: it cuts
// connections, refuses them, delays bytes, holds them back, or loses what goes in
// one direction.
package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Direction is one of the directions in which bytes pass, or both.
type Direction int

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// dialLimit bounds a connection to the server.
const dialLimit = 5 * time.Second

// Proxy forwards bytes between clients and a server, until it is told otherwise.
// It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	target  string
	links   map[*link]bool
	changed chan struct{} // closed and replaced when one of the following changes
	stalled Direction
	lossy   Direction
	latency time.Duration
	refuses bool
	closed  bool
}

// link is one connection of a client.
type link struct{ client, server net.Conn }

func (l *link) close() { _, _ = l.client.Close(), l.server.Close() }

// Listen returns a proxy to target, as host:port, on a free port of the loopback
// interface. The caller closes it.
func Listen(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, links: make(map[*link]bool), changed: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Close ends the proxy with all connections through it.
func (p *Proxy) Close() error {
	p.change(func() { p.closed = true })
	err := p.listener.Close()
	p.Cut()
	p.wg.Wait()
	return err
}

// Addr returns the proxy's own address.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns a URL of the target with the proxy's address.
func (p *Proxy) URL(targetURL string) (string, error) {
	u, err := url.Parse(targetURL)
	if err != nil {
		return "", errors.New("proxy: the URL cannot be parsed") // it may hold a password
	}
	u.Host = p.Addr()
	return u.String(), nil
}

// Retarget directs new connections to another server. Open ones stay where they
// are, as after a DNS change.
func (p *Proxy) Retarget(target string) { p.change(func() { p.target = target }) }

// Freeze holds back what is sent in both directions on all connections until Thaw,
// like a cut network or a frozen server. Connections can still be opened.
func (p *Proxy) Freeze() { p.Stall(Both) }

// Thaw ends Freeze and Stall; bytes that waited are forwarded.
func (p *Proxy) Thaw() { p.Stall(0) }

// Stall holds back what is sent in these directions, and in no other, as lost
// packets do that are sent again later.
func (p *Proxy) Stall(d Direction) { p.change(func() { p.stalled = d }) }

// Lose drops what is sent in these directions from now on, until Restore. That
// breaks the connections: what was lost is missing on them.
func (p *Proxy) Lose(d Direction) { p.change(func() { p.lossy = d }) }

// Delay makes bytes late by d in each direction. Rates fall as well: what follows
// is read when it is forwarded.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.latency = d }) }

// Partition cuts all connections, and refuses new ones until Restore.
func (p *Proxy) Partition() {
	p.change(func() { p.refuses = true })
	p.Cut()
}

// Restore ends all faults. Connections on which bytes were lost are cut.
func (p *Proxy) Restore() {
	lossy := false
	p.change(func() {
		lossy = p.lossy != 0
		p.stalled, p.lossy, p.latency, p.refuses = 0, 0, 0, false
	})
	if lossy {
		p.Cut()
	}
}

// Cut closes all connections; new ones can be opened.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

func (p *Proxy) change(set func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		// A server that does not answer must not hold up other clients.
		p.wg.Go(func() { p.connect(client) })
	}
}

func (p *Proxy) connect(client net.Conn) {
	p.mu.Lock()
	target, refuses := p.target, p.refuses || p.closed
	p.mu.Unlock()
	if refuses {
		_ = client.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client, server}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses || p.closed {
		l.close()
		return
	}
	p.links[l] = true
	p.wg.Go(func() { p.pass(l, client, server, ToServer) })
	p.wg.Go(func() { p.pass(l, server, client, ToClient) })
}

// pass forwards bytes in one direction, and closes both connections when one
// ends.
func (p *Proxy) pass(l *link, from, to net.Conn, d Direction) {
	defer func() {
		l.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		lost := p.hold(d)
		if !lost && n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			// The end of a connection waits as its bytes do, and is lost as they are.
			for lost {
				lost = p.awaitChange(d)
			}
			return
		}
	}
}

// awaitChange waits for any change, and reports whether bytes in this direction are
// still lost.
func (p *Proxy) awaitChange(d Direction) (lost bool) {
	p.mu.Lock()
	lost, changed := p.lossy&d != 0 && !p.closed, p.changed
	p.mu.Unlock()
	if lost {
		<-changed
	}
	return lost
}

// hold waits as long as bytes in this direction have to wait, and reports whether
// they are lost.
func (p *Proxy) hold(d Direction) (lost bool) {
	begun := time.Now()
	for {
		p.mu.Lock()
		stalled, late, changed := p.stalled&d != 0 && !p.closed, p.latency-time.Since(begun), p.changed
		lost, closed := p.lossy&d != 0, p.closed
		p.mu.Unlock()
		switch {
		case stalled:
			<-changed
		case late > 0 && !closed:
			timer := time.NewTimer(late)
			select {
			case <-timer.C:
			case <-changed:
			}
			timer.Stop()
		default:
			return lost
		}
	}
}
