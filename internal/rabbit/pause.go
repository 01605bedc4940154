package rabbit

import (
	"net"
	"sync"
	"time"
)

// Pause makes the connection read nothing more until Resume: what the broker
// sends stays with the broker, once the network's buffers are full. Whoever
// waits for an answer of the broker waits as well, and a peer that falls
// silent is noticed only afterwards; heartbeats are sent. The end of the
// connection ends the pause.
func (c *Conn) Pause() { c.raw.reading.pause() }

// Resume ends a Pause.
func (c *Conn) Resume() { c.raw.reading.resume() }

// gate is passed by readers unless it is shut.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // nil: open; else closed when it opens
	closed bool          // the connection is: whoever waits is to learn of it
}

func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil && !g.closed {
		g.shut = make(chan struct{})
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.open()
}

func (g *gate) open() {
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass waits while the gate is shut and reports whether it had to.
func (g *gate) pass() (waited bool) {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return waited
		}
		<-shut
		waited = true
	}
}

// Read waits out a pause. The read deadline that the library set before it
// has passed by then, through no fault of the peer's.
func (g *guardedConn) Read(p []byte) (int, error) {
	if g.reading.pass() && g.open.Load() {
		if beat := time.Duration(g.heartbeat.Load()); beat > 0 {
			if err := g.Conn.SetReadDeadline(time.Now().Add(patienceFor(beat))); err != nil {
				return 0, err
			}
		}
	}
	return g.Conn.Read(p)
}

// Close ends a pause as well.
func (g *guardedConn) Close() error {
	g.reading.close()
	return g.Conn.Close()
}

// patienceFor is how long a peer may be silent, as the library has it.
func patienceFor(heartbeat time.Duration) time.Duration { return 3 * heartbeat / 2 }

var _ net.Conn = (*guardedConn)(nil)
