package rabbit

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// burstBytes is how much of a burst is collected before it is sent. More saves
// no processor time that could be measured, and has the broker wait longer.
const burstBytes = 32 << 10

// burst collects what is written to a connection while messages are published
// one right after the other. The library flushes after each of them: a system
// call and a packet for each here, and a read and a turn of the connection's
// process at the broker.
type burst struct {
	mu   sync.Mutex
	open int // publishers that go on to write at once
	held []byte
	err  error // of the first write that failed: what came after it must not be sent
}

// beginBurst lets frames wait for each other until the returned function is
// called, by anyone on this connection: whoever has begun a burst calls it before
// it waits for anything. That sends what is held, of others too, and returns the
// error of doing so; the connection is of no more use then.
func (c *Conn) beginBurst() (end func() error) {
	g := c.raw
	g.burst.mu.Lock()
	defer g.burst.mu.Unlock()
	g.burst.open++
	return func() error {
		g.burst.mu.Lock()
		defer g.burst.mu.Unlock()
		g.burst.open--
		return g.flush()
	}
}

// Write sends p, or holds it back in a burst. It gives every write a deadline of
// its own: the library sets none, and one stuck write holds the locks that its
// own shutdown needs.
func (g *guardedConn) Write(p []byte) (int, error) {
	g.burst.mu.Lock()
	defer g.burst.mu.Unlock()
	if g.burst.err != nil {
		return 0, g.burst.err
	}
	// Not in the handshakes at both ends of a connection.
	inBurst := g.burst.open > 0 && g.open.Load()
	if !inBurst && len(g.burst.held) == 0 {
		return g.send(p)
	}
	g.burst.held = append(g.burst.held, p...)
	if inBurst && len(g.burst.held) < burstBytes {
		return len(p), nil
	}
	if err := g.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush sends what is held. The lock is held.
func (g *guardedConn) flush() error {
	if g.burst.err != nil || len(g.burst.held) == 0 {
		return g.burst.err
	}
	_, err := g.send(g.burst.held)
	g.burst.held = g.burst.held[:0]
	return err
}

// send writes to the network. The lock is held.
func (g *guardedConn) send(p []byte) (n int, err error) {
	if g.open.Load() {
		if err := g.SetWriteDeadline(time.Now().Add(g.timeout)); err != nil {
			return 0, err
		}
	}
	n, err = g.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && g.open.Load() {
		err = fmt.Errorf("the network took no data for %v: %w", g.timeout, err)
	}
	g.burst.err = err
	return n, err
}
